import sys

import pytest
import torch

from zeroshot.errors import ZeroshotError
from zeroshot.models import (
    default_ensemble,
    find_device,
    find_model,
    find_proxies,
    find_space,
    refining_ensemble,
    space_of,
)
from zeroshot.proxies import PROXIES
from zeroshot.spaces import NASBENCH201, SPACES, NasBench201, Task

MINE = """
import sys
import torch
from torch import nn
import zeroshot
from zeroshot.passes import Weights

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))

class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)

MODEL = net()

def raises():
    raise KeyError("no such width\\nsecond line")

def exits():
    sys.exit("usage: mine")

def nothing():
    return None

PROXY = zeroshot.Proxy("mine", (Weights(),), lambda weights: len(weights), "lower", "here")
SNIP = zeroshot.Proxy("snip", (Weights(),), lambda weights: len(weights), "lower", "here")
"""


TOWER = """
from dataclasses import dataclass
from torch import nn
from zeroshot.spaces import NASBENCH201, Axis, Space

@dataclass(frozen=True)
class Tower(Space):
    name = "tower"
    axes = (Axis("width", ("2", "4")), Axis("depth", ("1", "2")))

    def build(self, arch, task):
        return nn.Identity()
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's own in the current folder, which is not on the path."""
    (tmp_path / "mine_models.py").write_text(MINE)
    (tmp_path / "mine_tower.py").write_text(TOWER)
    (tmp_path / "mine_broken.py").write_text("import not_there_at_all")
    (tmp_path / "mine_raising.py").write_text("1 / 0")
    (tmp_path / "mine_script.py").write_text("import sys; sys.exit('usage')")
    (tmp_path / "mine_wrong.py").write_text("import torch; torch.no_such_thing")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "mine_models"
    for name in ("models", "tower", "broken", "raising", "script", "wrong"):
        sys.modules.pop(f"mine_{name}", None)


def model(spec, seed=0, init="default"):
    return find_model(spec, None, init=init, seed=seed, device="cpu")


# -- spaces ----------------------------------------------------------------------------------------


def test_spaces_and_their_shape():
    assert find_space("nasbench201") is NASBENCH201
    assert find_space("nasbench201", channels=None, cells=None) is NASBENCH201
    assert find_space("nasbench201", channels=4, cells=2) == NasBench201(4, 2)
    with pytest.raises(ZeroshotError, match="unknown space 'nasbench20'; did you mean nasbench201"):
        find_space("nasbench20")
    with pytest.raises(ZeroshotError, match="unknown space 'x'; there are nasbench201, "):
        find_space("x")
    with pytest.raises(ZeroshotError, match=r"--cells 2: the networks of torchvision have no"):
        find_space("torchvision", cells=2)
    for value in (0, -1):
        with pytest.raises(ZeroshotError, match=f"--channels {value}: expected a positive"):
            find_space("nasbench201", channels=value)


@pytest.mark.parametrize("name", ["mine_tower", "mine_tower.py"])
def test_a_file_that_holds_a_space_is_told(name, mine):
    with pytest.raises(ZeroshotError, match=r"unknown space '.*'; did you mean mine_tower:Tower\?"):
        find_space(name)
    for other in ("mine_models", "mine_raising", "mine_tower.txt"):
        with pytest.raises(ZeroshotError, match=f"unknown space '{other}'; there are nasbench201"):
            find_space(other)


# -- proxies ---------------------------------------------------------------------------------------


def test_proxies_by_name(mine):
    assert find_proxies("all") == find_proxies(("all",)) == PROXIES
    assert [p.name for p in find_proxies("snip, naswot,snip")] == ["snip", "naswot"]
    assert [p.name for p in find_proxies(("flops", PROXIES[0]))] == ["flops", PROXIES[0].name]
    assert [p.name for p in find_proxies(f"naswot, {mine}:PROXY")] == ["naswot", "mine"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("naswott", "unknown proxy 'naswott'; did you mean naswot"),
        ("", "unknown proxy ''; expected a zeroshot.Proxy or one of params"),
        ("snip,", "unknown proxy ''"),
        ((), "no proxy is named; there are params"),
        ("all,snip", "unknown proxy 'all'"),
        ("mine_models:net", "mine_models:net is function; expected a zeroshot.Proxy"),
        ("mine_models:other", "module mine_models has no 'other'"),
        ("snip,mine_models:SNIP", "two proxies are called 'snip'"),
    ],
)
def test_bad_proxies(names, words, mine):
    with pytest.raises(ZeroshotError, match=words):
        find_proxies(names)


# -- models ----------------------------------------------------------------------------------------


def test_architectures_by_index_and_string():
    text = NASBENCH201.spell(NASBENCH201.at(3))
    one, two = model("nasbench201:3"), model(f"nasbench201:{text}")
    for first, second in zip(one.module.parameters(), two.module.parameters(), strict=True):
        assert torch.equal(first, second)
    small = find_model(
        "torchvision:squeezenet1_1", Task(size=64, classes=7), init="default", seed=0, device="cpu"
    )
    assert small(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


def test_factories(mine):
    before = torch.get_rng_state()
    one, again, other = (model(f"{mine}:net", seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.module[1].weight, again.module[1].weight)
    assert not torch.equal(one.module[1].weight, other.module[1].weight)
    assert (one.seed, other.seed) == (0, 1)
    assert model(f"{mine}:Net").module.out_features == 3
    assert model("torch.nn:Identity").module(3) == 3


def test_initialisations(mine):
    normal = model(f"{mine}:net", init="gaussian").module[1].weight.detach()
    assert 0.9 < float(normal.std()) < 1.1
    with pytest.raises(ZeroshotError, match="unknown initialisation 'gausian'; did you mean gauss"):
        model(f"{mine}:net", init="gausian")
    with pytest.raises(ZeroshotError, match="unknown initialisation 'gausian'"):
        model("nasbench201:3", init="gausian")


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|", "nasbench201"),
        ("64-41414-1_30_321", "transnasbench101_micro"),
        ("shufflenet_v2_x1_0", "torchvision"),
        ("1.2.3", None),
        ("3", None),
    ],
)
def test_a_space_may_be_left_out_where_only_one_writes_so(text, home):
    assert space_of(text) == (home and (home, text))


def test_a_network_that_is_there_stays_as_it_is(mine):
    held = model(f"{mine}:MODEL", init="gaussian")
    assert held.module is sys.modules[mine].MODEL
    assert float(held.module[1].weight.detach().abs().max()) < 0.1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("resnet17", "'resnet17' names no model; expected nasbench201:13714"),
        ("nasbench201:", "names no model"),
        ("", "names no model"),
        ("nasbench201:x", "no nasbench201 architecture: at character 1"),
        ("nasbench201:15625", "no architecture 15625"),
        ("torchvision:resnet19", "did you mean resnet1"),
        ("nasbench:3", r"no module 'nasbench' here or installed, and no space of that name \(nas"),
        (":net", ":net: importing  raised ValueError"),
        (".mine_models:net", "importing .mine_models raised TypeError"),
        ("mine_models:other", "module mine_models has no 'other'"),
        ("mine_models:raises", "mine_models:raises raised KeyError: 'no such width"),
        ("mine_models:exits", "mine_models:exits raised SystemExit: usage: mine"),
        ("mine_models:nothing", "mine_models:nothing gave NoneType; expected a torch.nn.Module"),
        ("mine_models:sys", "gave module; expected a torch.nn.Module"),
        ("mine_tower:Tower", "Tower is a space; .* architectures, such as mine_tower:Tower:0.0"),
        (
            "mine_broken:net",
            "importing mine_broken raised ModuleNotFoundError: No module named 'not_there",
        ),
        ("mine_models.py:net", "is a file; did you mean the module, mine_models:net"),
        ("mine_raising:net", "importing mine_raising raised ZeroDivisionError: division by zero"),
        ("mine_script:net", "importing mine_script raised SystemExit: usage"),
        ("mine_wrong:net", "importing mine_wrong raised AttributeError: module 'torch' has no"),
    ],
)
def test_bad_models(spec, words, mine):
    state = torch.get_rng_state()
    with pytest.raises(ZeroshotError, match=words) as error:
        model(spec)
    assert "\n" not in str(error.value)
    assert torch.equal(torch.get_rng_state(), state)


# -- devices ---------------------------------------------------------------------------------------


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == "cuda"
    for name in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert find_device(name) == name
    with pytest.raises(ZeroshotError, match="cuda:2 is not there: this machine has 2 CUDA"):
        find_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == "cpu"
    with pytest.raises(ZeroshotError, match="device cuda is not there: this machine has 0"):
        find_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "cpu:1"])
def test_unknown_devices(name):
    with pytest.raises(ZeroshotError, match=r"unknown device .*; expected auto, cpu, cuda or"):
        find_device(name)


def test_every_space_is_found():
    for space in SPACES:
        assert find_space(space.name) is space
        assert isinstance(space.task, Task)


@pytest.mark.parametrize(
    ("space", "first", "again"),
    [
        ("nasbench201", "default", "az_nas"),
        ("torchvision", "log_rank", "log_rank"),
        ("enas_rnn", "swap", "swap"),
        ("nasbench_nlp", "swap", "swap"),
    ],
)
def test_what_ranks_by_default_can_speak_of_the_space(space, first, again):
    found = find_space(space)
    assert (default_ensemble(found), refining_ensemble(found)) == (first, again)
