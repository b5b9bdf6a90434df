import pytest
import torch
import torchvision

from zeroshot.errors import ZeroshotError
from zeroshot.spaces import SPACES, TORCHVISION, Task

# A model of every family that is quick to build, at 224 × 224.
MODELS = (
    "alexnet",
    "googlenet",
    "mnasnet0_5",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
)


def published(name):
    return torchvision.models.get_model_weights(name).DEFAULT.meta


def test_all_classifiers_are_there_by_name():
    names = [TORCHVISION.spell(arch) for arch in TORCHVISION]
    assert names == torchvision.models.list_models(module=torchvision.models)
    assert len(TORCHVISION) == len(names) >= 80
    assert {"resnet18", "vit_b_16", "convnext_tiny", "inception_v3"} <= set(names)
    assert not any("segmentation" in name or "rcnn" in name or "raft" in name for name in names)
    assert TORCHVISION in SPACES


def test_parse_reads_names_and_indices():
    for arch in TORCHVISION:
        name = TORCHVISION.spell(arch)
        assert TORCHVISION.parse(name) == TORCHVISION.parse(f"torchvision:{name}") == arch
        assert TORCHVISION.parse(str(TORCHVISION.index(arch))) == arch


def test_parse_suggests():
    with pytest.raises(ZeroshotError, match="no classifier 'resnet19'; did you mean resnet1"):
        TORCHVISION.parse("resnet19")
    with pytest.raises(ZeroshotError, match="no classifier 'ResNet18'"):
        TORCHVISION.parse("ResNet18")
    with pytest.raises(ZeroshotError, match=r"no classifier 'qqqqq'; did you mean \w+"):
        TORCHVISION.parse("qqqqq")
    with pytest.raises(ZeroshotError, match="no architecture 1000"):
        TORCHVISION.parse("1000")


@pytest.mark.parametrize("name", MODELS)
def test_costs_are_those_published(name):
    cost = TORCHVISION.cost(TORCHVISION.parse(name))
    meta = published(name)
    assert cost.params == meta["num_params"]
    assert cost.macs / 1e9 == pytest.approx(meta["_ops"], rel=0.01, abs=0.0006)  # 3 decimals


def test_building_leaves_the_random_state():
    before = torch.get_rng_state()
    TORCHVISION.network(TORCHVISION.parse("regnet_x_400mf"))
    assert torch.equal(torch.get_rng_state(), before)


def test_regnet_cannot_be_built_without_values_but_is_counted():
    arch = TORCHVISION.parse("regnet_x_400mf")
    with pytest.raises(NotImplementedError), torch.device("meta"):
        TORCHVISION.build(arch, TORCHVISION.task)
    task = Task(size=64, classes=7)
    full, small = TORCHVISION.cost(arch), TORCHVISION.cost(arch, task)
    assert small.params < full.params
    assert small.macs < full.macs / 10


def test_networks_are_seeded_and_answer_the_task():
    arch, task = TORCHVISION.parse("squeezenet1_1"), Task(size=64, classes=7)
    nets = [TORCHVISION.network(arch, task, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (list(net.module.parameters())[-2] for net in nets)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert nets[0](torch.zeros(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.parametrize("name", ["googlenet"])
def test_auxiliary_heads_are_left_out(name):
    net = TORCHVISION.network(TORCHVISION.parse(name), Task(size=64, classes=7))
    assert not any("aux" in parameter for parameter, _ in net.module.named_parameters())
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


def test_grey_images_are_refused():
    with pytest.raises(ZeroshotError, match="take 3 channels, not 1"):
        TORCHVISION.network(TORCHVISION.parse("resnet18"), Task(channels=1))
