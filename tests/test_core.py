import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests import networks
from tests.checks import batch, unchanged
from zeroshot.core import Batch, Net
from zeroshot.errors import Undefined, ZeroshotError
from zeroshot.restore import seeded
from zeroshot.scoring import evaluate


def distance(answers, targets):
    """A squared error for each sample."""
    return (answers - targets).square().sum(1)


class TestBatch:
    X, Y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 2])

    @pytest.mark.parametrize(
        ("inputs", "targets", "message"),
        [
            (X[:1], Y[:1], "a batch of 1: "),
            (X[:0], Y[:0], "a batch of 0: "),
            (torch.tensor(1.0), Y, "a batch of 1: "),
            (X, Y[:2], r"targets of shape \(2,\)"),
            (X, Y[:, None], r"targets of shape \(3, 1\)"),
            (X, Y.float(), "type torch.float32: expected"),
            (X, Y - 1, "target -1"),
            (X.where(X[1] != X, torch.nan), Y, "1 of 3 samples hold NaN or infinite"),
            (X[:, 0, 0, 0] / 0, Y, "3 of 3 samples hold NaN or infinite"),
        ],
    )
    def test_refuses(self, inputs, targets, message):
        with pytest.raises(ZeroshotError, match=message) as error:
            Batch(inputs, targets)
        assert "\n" not in str(error.value)

    def test_to(self):
        moved = Batch(self.X, self.Y).to(torch.device("cpu"), torch.float64)
        assert moved.inputs.dtype == torch.float64
        assert moved.targets.dtype == torch.int64
        whole = Batch(torch.ones(3, 2, dtype=torch.long), self.Y)
        assert whole.to(torch.device("cpu"), torch.float64).inputs.dtype == torch.int64
        assert len(moved) == 3

    def test_hash(self):
        one = Batch(self.X, self.Y)
        assert one.hash == Batch(self.X.clone(), self.Y.clone()).hash
        assert len(one.hash) == 12
        others = (
            Batch(self.X + 1, self.Y),
            Batch(self.X, self.Y.flip(0)),
            Batch(self.X.double(), self.Y),
            Batch(self.X.bfloat16(), self.Y),
            Batch(self.X.reshape(3, 4), self.Y),
        )
        assert len({one.hash, *(other.hash for other in others)}) == 6

    def test_hash_of_a_view(self):
        flipped = self.X.transpose(2, 3)
        assert Batch(flipped, self.Y).hash == Batch(flipped.contiguous(), self.Y).hash

    def test_losses(self):
        logits = torch.randn(3, 4)
        found = Batch(self.X, self.Y).losses(logits)
        assert torch.allclose(found, -logits.log_softmax(1)[torch.arange(3), self.Y])
        with pytest.raises(Undefined, match=r"\(3, 4, 2\) have no cross-entropy"):
            Batch(self.X, self.Y).losses(torch.randn(3, 4, 2))
        with pytest.raises(ZeroshotError, match="targets up to 2, but the network answers 2"):
            Batch(self.X, self.Y).losses(torch.randn(3, 2))

    def test_a_loss_of_ones_own(self):
        targets = torch.rand(3, 2)
        one = Batch(self.X, targets, distance)
        answers = torch.zeros(3, 2)
        assert torch.equal(one.losses(answers), targets.square().sum(1))
        assert one.to(torch.device("cpu"), torch.float64).targets.dtype == torch.float64
        assert one.to(torch.device("cpu"), torch.float64).loss is distance
        assert (one.has_classes, Batch(self.X, self.Y).has_classes) == (False, True)
        assert one.hash != Batch(self.X, targets, lambda a, t: (a - t).sum(1)).hash
        with pytest.raises(ZeroshotError, match=r"gives \(\) for answers \(3, 2\) and targets"):
            Batch(self.X, targets, torch.nn.functional.mse_loss).losses(answers)
        with pytest.raises(ZeroshotError, match="expected 3, one a sample"):
            Batch(self.X, targets[:2], distance)
        with pytest.raises(ZeroshotError, match="3 of 3 targets hold NaN or infinite"):
            Batch(self.X, targets / 0, distance)

    def test_is_frozen(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            Batch(self.X, self.Y).inputs = self.X


class Reveals(nn.Module):
    """Answers its modes and a random number."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(2), nn.Dropout()

    def forward(self, x):
        modes = torch.tensor([self.training, self.norm.training, self.drop.training])
        return torch.cat([modes.to(x.dtype), torch.rand(1, dtype=x.dtype)])[None].expand(len(x), 4)


class TestNet:
    def test_modes(self):
        for training in (True, False):
            net = Net(Reveals().train(training))
            assert net(torch.rand(2, 2))[0, :3].tolist() == [0, 1, 0]
            assert net(torch.rand(2, 2), statistics="stored")[0, :3].tolist() == [0, 0, 0]
            assert all(part.training == training for part in net.module.modules())

    def test_random_numbers_of_the_network_depend_on_the_seed(self):
        def draw(seed):
            return float(Net(Reveals(), seed=seed)(torch.rand(2, 2))[0, 3])

        first = draw(0)
        torch.manual_seed(1)
        assert draw(0) == first
        assert draw(1) != first

    def test_stays_as_it_is_even_if_it_fails(self):
        class Fails(networks.Plain):
            def forward(self, x):
                super().forward(x)
                torch.rand(1)
                raise KeyError

        net = Net(Fails().double())
        with unchanged(net, batch()), pytest.raises(KeyError):
            net(batch().inputs)

    def test_runs_in_the_precision_of_its_inputs(self):
        net = Net(networks.network("Plain", torch.float32))
        assert net.dtype == torch.float32
        assert net(batch().inputs).dtype == torch.float64

    def test_weights_can_be_replaced(self):
        net = Net(nn.Linear(2, 1, bias=False))
        assert net(torch.ones(2, 2), {"weight": torch.full((1, 2), 3.0)}).tolist() == [[6], [6]]

    def test_weights(self):
        assert list(Net(networks.network("Transformer")).weights()) == [
            "patches.weight",
            "layer.self_attn.in_proj_weight",
            "layer.self_attn.out_proj.weight",
            "layer.linear1.weight",
            "layer.linear2.weight",
            "head.weight",
        ]
        alone = nn.Linear(2, 2)
        assert list(Net(alone).weights()) == ["weight"]
        assert not Net(alone).weights()["weight"].requires_grad

    def test_attention_with_projections_apart(self):
        attention = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
        parts = "q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"
        assert set(Net(attention).weights()) == set(parts)

    def test_without_parameters(self):
        net = Net(nn.ReLU())
        assert net.device == torch.device("cpu")
        assert net.dtype == torch.get_default_dtype()

    def test_generators(self):
        def draw(seed, purpose):
            return float(torch.rand(1, generator=Net(nn.ReLU(), seed=seed).generator(purpose)))

        assert draw(0, "a") == draw(0, "a")
        assert len({draw(0, "a"), draw(0, "b"), draw(1, "a"), draw(1, "b")}) == 4

    @pytest.mark.parametrize("embedding_first", [True, False])
    def test_a_tensor_counts_once_if_any_of_its_places_does(self, embedding_first):
        module = nn.Module()
        for name in ("a", "b") if embedding_first else ("b", "a"):
            setattr(module, name, nn.Embedding(5, 3) if name == "a" else nn.Linear(3, 5))
        module.b.weight = module.a.weight
        module.c = nn.Linear(5, 3)
        module.c.weight = nn.Linear(5, 3).weight
        name = "a.weight" if embedding_first else "b.weight"
        assert list(Net(module).weights()) == [name, "c.weight"]
        assert Net(module).weights()[name].data_ptr() == module.a.weight.data_ptr()


class Checkpointed(networks.Plain):
    """Runs its features again in the backward run."""

    def __init__(self, use_reentrant):
        super().__init__()
        self.use_reentrant = use_reentrant

    def forward(self, x):
        features = (
            self.features(x)
            if self.use_reentrant is None
            else checkpoint(self.features, x, use_reentrant=self.use_reentrant)
        )
        return self.head(self.pool(features).flatten(1))


class TestCheckpointing:
    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("use_reentrant", [True, False])
    def test_is_a_plain_call(self, use_reentrant, training):
        plain, module = (networks.fill(Checkpointed(how)) for how in (None, use_reentrant))
        net, shown = Net(module.train(training)), batch(torch.float32)
        names = "snip,grasp,synflow,naswot,jacob_cov,ntk_trace,epsilon"
        with unchanged(net, shown):
            found = evaluate(net, shown, names)
        assert found.found == evaluate(plain, shown, names).found
        assert not found.reasons

    def test_is_itself_again_afterwards(self):
        x = torch.rand(2, 3, 8, 8, requires_grad=True)
        Net(Checkpointed(False))(x)
        runs = []
        checkpoint(lambda x: runs.append(x) or x.exp(), x, use_reentrant=False).sum().backward()
        assert len(runs) == 2


class Clamps(networks.Plain):
    """Writes into a weight before it is used, or uses a copy."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        weight = self.head.weight
        if self.how == "data":
            weight.data.clamp_(-0.05, 0.05)
        elif self.how == "no_grad":
            with torch.no_grad():
                weight.clamp_(-0.05, 0.05)
        else:
            weight = weight + (weight.clamp(-0.05, 0.05) - weight).detach()
        x = self.pool(self.features(x)).flatten(1)
        return nn.functional.linear(x, weight, self.head.bias)


class TestNetworksThatWriteIntoTheirParameters:
    @pytest.mark.parametrize("how", ["data", "no_grad"])
    @pytest.mark.parametrize("names", ["memory,naswot,grad_norm,ntk_trace", "synflow,zen,fisher"])
    def test_run_on_copies(self, how, names):
        module, other = (networks.fill(Clamps(how)).double() for how in (how, "copy"))
        net, shown = Net(module), batch()
        with unchanged(net, shown):
            scores = evaluate(net, shown, names)
        expected = evaluate(other, shown, names).found
        for name in set(expected) - {"memory", "synflow"}:
            assert scores[name] == pytest.approx(expected[name], rel=1e-12)
        assert not scores.reasons


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.cells(x)[0].mean(1))


def test_recurrent_layers_keep_their_lists_of_weights():
    module = Recurrent()
    Net(module)(torch.rand(2, 5, 4, dtype=torch.float64))
    listed = zip(module.cells._flat_weights, module.cells.parameters(), strict=True)
    assert all(one is other for one, other in listed)
    assert all(
        ref() is p
        for ref, p in zip(module.cells._flat_weight_refs, module.cells.parameters(), strict=True)
    )


class Answers(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


class Named:
    def __init__(self, **values):
        vars(self).update(values)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x,
        lambda x: (x, x + 1),
        lambda x: [None, x, x + 1],
        lambda x: {"features": x + 1, "logits": x},
        lambda x: {"aux": x + 1, "out": x},
        lambda x: {"anything": x, "else": x + 1},
        lambda x: Named(features=x + 1, logits=x),
    ],
)
def test_logits_are_found(answer):
    x = torch.rand(2, 3)
    assert torch.equal(Net(Answers(answer))(x), x)


@pytest.mark.parametrize(
    "answer", [lambda x: None, lambda x: 3.0, lambda x: (), lambda x: {"a": 1}]
)
def test_no_logits(answer):
    with pytest.raises(Undefined, match="no tensor was found"):
        Net(Answers(answer))(torch.rand(2, 3))


def test_shapes_of_targets_tell_batches_apart():
    inputs, targets = torch.rand(2, 4), torch.rand(2, 6)
    one, other = (Batch(inputs, t, distance) for t in (targets, targets.view(2, 2, 3)))
    assert one.hash != other.hash


def test_seeded(monkeypatch):
    monkeypatch.setattr(torch, "manual_seed", lambda seed: pytest.fail("it reseeds all devices"))
    state, numpy, python = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    drawn = []
    for _ in range(2):
        with seeded(5, torch.device("cpu")):
            drawn.append((float(torch.rand(1)), np.random.rand(), random.random()))  # noqa: NPY002
    assert drawn[0] == drawn[1]
    assert torch.equal(torch.get_rng_state(), state)
    assert str(np.random.get_state()) == str(numpy)  # noqa: NPY002
    assert random.getstate() == python
