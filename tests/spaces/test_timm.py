import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torchvision

from zeroshot.errors import ZeroshotError
from zeroshot.spaces import SPACES, TIMM, TORCHVISION, Task
from zeroshot.spaces.timm import _names

installed = pytest.mark.skipif(not find_spec("timm"), reason="timm is not installed")


@pytest.fixture
def _absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    _names.cache_clear()
    yield
    _names.cache_clear()


@pytest.mark.usefixtures("_absent")
class TestWithoutTimm:
    def test_the_error_says_what_to_install(self):
        for call in (
            lambda: TIMM.parse("resnet18"),
            lambda: TIMM.size,
            lambda: TIMM.parse("3"),
            lambda: TIMM.sample(1, np.random.default_rng(0)),
        ):
            with pytest.raises(ZeroshotError, match=r"pip install 'zeroshot-nas\[timm\]'"):
                call()

    def test_the_others_are_as_they_were(self):
        assert TIMM in SPACES
        assert TORCHVISION.spell(TORCHVISION.parse("resnet18")) == "resnet18"


@installed
class TestWithTimm:
    def test_models_are_there_by_name(self):
        names = TIMM.models()
        assert len(names) == TIMM.size > 900
        assert {"resnet18", "vit_base_patch16_224", "convnext_tiny", "efficientnet_b0"} <= {*names}
        assert TIMM.parse("timm:resnet18") == TIMM.parse("resnet18")

    def test_parse_suggests(self):
        with pytest.raises(ZeroshotError, match="timm has no classifier 'resnet19'; did you mean"):
            TIMM.parse("resnet19")

    @pytest.mark.parametrize(
        ("name", "twin"),
        [
            ("resnet18", "resnet18"),
            ("vit_base_patch16_224", "vit_b_16"),
            ("convnext_tiny", "convnext_tiny"),
            ("densenet121", "densenet121"),
            ("swin_tiny_patch4_window7_224", "swin_t"),
            ("mobilenetv3_large_100", "mobilenet_v3_large"),
        ],
    )
    def test_parameters_are_those_published_with_torchvision(self, name, twin):
        meta = torchvision.models.get_model_weights(twin).DEFAULT.meta
        assert TIMM.cost(TIMM.parse(name)).params == meta["num_params"]

    @pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_convnext"])
    def test_networks_are_made_for_the_task(self, name):
        task = Task(channels=1, size=64, classes=7)
        net = TIMM.network(TIMM.parse(name), task, seed=1)
        assert net(torch.rand(2, 1, 64, 64)).shape == (2, 7)

    def test_sizes_that_a_model_does_not_take(self):
        with pytest.raises(
            ZeroshotError, match="xcit_nano_12_p8_224 cannot be built for 3 channels"
        ):
            TIMM.network(TIMM.parse("xcit_nano_12_p8_224"), Task(size=17))
