"""Tasks other than classifying images: a loss, inputs and targets of one's own."""

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zeroshot
from tests.checks import assert_close
from zeroshot.core import Batch
from zeroshot.errors import ZeroshotError
from zeroshot.spaces import Axis, NasBench201, Space, Task


class Regression(Task):
    """Images to one number each."""

    def targets(self, count, generator):
        return torch.randn(count, 1, generator=generator)

    def loss(self, answers, targets):
        return (answers - targets).square().mean(1)


class Tokens(Task):
    """Sequences to a class for every token."""

    def inputs(self, count, generator):
        return torch.randint(self.classes, (count, self.size), generator=generator)

    targets = inputs

    def loss(self, answers, targets):
        return F.cross_entropy(answers.mT, targets, reduction="none").mean(1)


@dataclass(frozen=True)
class Readers(Space):
    """Networks over tokens."""

    name = "readers"
    axes = (Axis("width", ("4", "8", "16")), Axis("layers", ("1", "2")))
    source = "here"
    task = Tokens(size=5, classes=7)

    def build(self, arch, task):
        width, layers = (int(option) for (option,) in self.names(arch))
        body = [part for _ in range(layers) for part in (nn.Linear(width, width), nn.ReLU())]
        return nn.Sequential(
            nn.Embedding(task.classes, width), *body, nn.Linear(width, task.classes)
        )


def test_noise_is_the_tasks_own_and_depends_on_the_seed():
    task = Tokens(size=5, classes=7)
    batch, told = zeroshot.load_batch(batch_size=4, task=task, seed=1)
    assert told is task
    assert batch.inputs.shape == batch.targets.shape == (4, 5)
    assert batch.loss == task.loss
    again, other = (zeroshot.load_batch(batch_size=4, task=task, seed=seed)[0] for seed in (1, 2))
    assert again.hash == batch.hash != other.hash


def test_a_task_is_a_value():
    assert Tokens(size=5) == Tokens(size=5) != Task(size=5)
    assert replace(Tokens(size=5), classes=3) == Tokens(size=5, classes=3)
    assert repr(Regression()) == "Regression(channels=3, size=32, classes=10)"


def test_proxies_differentiate_the_loss_that_the_batch_has():
    """snip and grad_norm of a squared error, as autograd alone has them."""
    torch.manual_seed(0)
    one, other = nn.Linear(12, 4).double(), nn.Linear(4, 1).double()
    network = nn.Sequential(nn.Flatten(), one, nn.Tanh(), other)
    batch, _ = zeroshot.load_batch(batch_size=6, task=Regression(size=2))
    batch = batch.to(torch.device("cpu"), torch.float64)
    loss = (network(batch.inputs) - batch.targets).square().mean()
    weights = [one.weight, other.weight]
    gradients = torch.autograd.grad(loss, weights)
    scores = zeroshot.evaluate(network, batch)
    assert_close(scores["grad_norm"], float(sum(g.norm() for g in gradients)), 1e-9)
    pairs = zip(weights, gradients, strict=True)
    assert_close(scores["snip"], float(sum((w.detach() * g).abs().sum() for w, g in pairs)), 1e-9)
    each = [
        network(x[None]).sub(y).square().sum()
        for x, y in zip(batch.inputs, batch.targets, strict=True)
    ]
    signs = [[g.sign() for g in torch.autograd.grad(loss, weights)] for loss in each]
    expected = sum(
        float(torch.stack(column).sum(0).abs().sum()) for column in zip(*signs, strict=True)
    )
    assert_close(scores["gradsign"], expected, 1e-9)


def test_what_needs_classes_says_so():
    batch, _ = zeroshot.load_batch(batch_size=6, task=Regression(size=4))
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 1))
    reasons = zeroshot.evaluate(network, batch).reasons
    for proxy in ("epe_nas", "ntk_krr", "label_alignment"):
        assert reasons[proxy] == "the targets are no classes"
    assert "are no classes'" in reasons["vkdnw"]
    assert not {"snip", "zico", "naswot", "ntk_cond", "memory_train"} & set(reasons)


def test_a_space_for_another_task_is_ranked(tmp_path):
    space = Readers()
    found = zeroshot.rank(space, proxies="flops,naswot,snip", batch_size=4, workers=2)
    assert len(found.order) == 6
    assert "Tokens(channels=3, size=5, classes=7)" in found.record["run"]["task"]
    arch = space.parse("2.1")
    assert space.cost(arch).macs == 5 * (16 * 16 * 2 + 16 * 7)
    scores = zeroshot.evaluate(
        space.network(arch), zeroshot.load_batch(batch_size=4, task=space.task)[0]
    )
    alone = found.scores.set_index("arch").loc["2.1"]
    assert (alone["naswot"], alone["snip"]) == (scores["naswot"], scores["snip"])


def test_a_batch_of_ones_own_is_shown_as_it_is():
    space = NasBench201(channels=4, cells=1)
    generator = torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(5, 3, 8, 8, generator=generator), torch.tensor([0, 1, 2, 3, 4]))
    found = zeroshot.rank(space, archs=[0, 13714], proxies="naswot,snip", data=batch, workers=1)
    assert found.record["run"]["data"] == "given"
    assert batch.hash in found.record["run"]["batch"]
    name = str(found.scores["arch"][0])
    alone = zeroshot.evaluate(space.network(space.parse(name)), batch)
    assert alone["snip"] == pytest.approx(found.scores["snip"][0], rel=1e-5)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    (scores,) = zeroshot.score(network, proxies="grad_norm", data=batch).values()
    assert scores["grad_norm"] == zeroshot.evaluate(network, batch)["grad_norm"]


@pytest.mark.parametrize("data", ["digits", "npz:nowhere.npz"])
def test_images_with_classes_are_refused_for_another_task(data):
    with pytest.raises(ZeroshotError, match="the task is Tokens; take noise") as error:
        zeroshot.rank(Readers(), proxies="snip", data=data, workers=1)
    assert "\n" not in str(error.value)
