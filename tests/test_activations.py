"""What the forward run keeps of blocks, and what is made of it."""

import pytest
import torch
from torch import nn

from tests import networks
from tests.checks import batch, of_space, toy
from zeroshot.core import Net
from zeroshot.errors import Undefined
from zeroshot.passes import (
    AttentionWeights,
    BlockHandover,
    BlockSpectra,
    ConstantWeights,
    FeatureMaps,
    Forward,
    LayerDimensions,
)
from zeroshot.scoring import evaluate


def blocks_of(net):
    return Forward().run(net, batch()).blocks


def test_blocks_in_the_order_in_which_they_run():
    net = of_space("convolutions")
    assert [block.name for block in blocks_of(net)] == list(net.blocks)
    backwards = Net(net.module, blocks=net.blocks[::-1])
    assert [block.name for block in blocks_of(backwards)] == list(net.blocks)


def test_none_unless_named():
    assert blocks_of(Net(networks.network("Plain"))) == ()


@pytest.mark.parametrize(
    ("name", "channels"),
    [("Residual", [1, 1, 1]), ("Transformer", [1, 2, 2]), ("nasbench201", [1] * 6)],
)
def test_axis_of_channels(name, channels):
    net = of_space("convolutions") if name == "nasbench201" else toy(name)
    assert [block.channels for block in blocks_of(net)] == channels


class ChannelsLast(nn.Module):
    """Answers maps whose channels come last, as Swin does."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(3, 8)

    def forward(self, x):
        return self.mix(x.movedim(1, -1))


def test_maps_may_end_with_their_channels():
    net = Net(nn.Sequential(ChannelsLast(), nn.Flatten()).double(), blocks=("0",))
    assert [block.channels for block in blocks_of(net)] == [3]


def test_overwritten_blocks_are_kept_as_they_were():
    conv = nn.Conv2d(3, 4, 3).double()
    module = nn.Sequential(nn.Sequential(conv), nn.ReLU(inplace=True), nn.Flatten())
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(None))
    (block,) = blocks_of(Net(module, blocks=("0",)))
    assert torch.allclose(block.output, conv(batch().inputs))
    assert len(calls) == 2


def test_what_is_no_block_may_be_overwritten():
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh())
    module = nn.Sequential(nn.Sequential(inner, nn.ReLU(inplace=True)), nn.Flatten()).double()
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(None))
    blocks_of(Net(module, blocks=("0",)))
    assert len(calls) == 1


def test_signs_are_of_the_seed():
    module, blocks = networks.network("Residual"), ("block1", "block2")
    same, other = Net(module, blocks), Net(module, blocks, seed=1)
    found = [
        BlockHandover().run(n, batch(), Forward().run(n, batch())).norms
        for n in (same, same, other)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_picked_channels_are_some_of_all():
    net = toy("Plain")
    trace = Forward().run(net, batch())
    everything, some = (FeatureMaps(k).run(net, batch(), trace) for k in (None, 8))
    assert [m.channels for m in some] == [m.channels for m in everything] == [8, 16, 16]
    assert [len(m.rows) for m in some] == [8, 8, 8]
    assert [len(m.rows) for m in everything] == [8, 16, 16]
    for whole, part in zip(everything, some, strict=True):
        known = {tuple(row.tolist()) for row in whole.rows}
        assert {tuple(row.tolist()) for row in part.rows} <= known


def test_what_is_constant_but_for_rounding_is_constant():
    conv = nn.Conv2d(3, 4, 1).double()
    nn.init.normal_(conv.weight, std=1e-16)
    nn.init.ones_(conv.bias)
    net = Net(nn.Sequential(conv, nn.Flatten()), blocks=("0",))
    trace = Forward().run(net, batch())
    assert trace.blocks[0].output.unique().numel() > 1
    (spectrum,) = BlockSpectra().run(net, batch(), trace)
    assert not spectrum.any()
    assert LayerDimensions().run(net, batch(), trace).tolist() == [0.0]


def test_a_layer_named_like_an_attention_is_none():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList([nn.Linear(3, 3)])

    module = nn.ModuleDict({"first": Attention(), "firstborn": nn.Linear(3, 3)})
    assert AttentionWeights().run(Net(module), batch()).tolist() == [True, False]


class TestConstantWeightsBehindGroupNormalisation:
    """What is left of a group whose numbers are equal is rounding."""

    def test_groups_of_several_channels_may_have_one_position(self):
        module = nn.Sequential(
            nn.GroupNorm(1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3, 10)
        ).double()
        one, other = ConstantWeights().run(Net(module), batch(h=1, w=1))
        assert bool((one != other).all())
        module[0] = nn.GroupNorm(3, 3)
        with pytest.raises(Undefined, match="group normalisation leaves nothing"):
            ConstantWeights().run(Net(module), batch(h=1, w=1))

    @pytest.mark.parametrize(("apart", "defined"), [(1e-16, False), (1e-6, True)])
    def test_equal_but_for_rounding_is_equal(self, apart, defined):
        class Apart(nn.Module):
            def forward(self, x):
                return x + apart * torch.arange(4)[:, None, None] * x

        layers = nn.Conv2d(3, 4, 1), Apart(), nn.GroupNorm(1, 4), nn.ReLU(), nn.Flatten()
        reasons = evaluate(
            nn.Sequential(*layers, nn.Linear(4, 10)).double(), batch(h=1, w=1), "epsilon"
        ).reasons
        assert ("group normalisation" not in reasons.get("epsilon", "")) is defined


def test_as_many_tokens_as_samples_may_be_either():
    class Tokens(nn.Module):
        """Has samples second, as its attention does."""

        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Linear(3, 4), nn.Linear(4, 10)
            self.attention = nn.MultiheadAttention(4, 1)

        def forward(self, x):
            return self.head(self.embed(x.flatten(2).movedim(1, 2)).relu().mean(1))

    net = Net(networks.fill(Tokens()).double(), blocks=("embed",))
    for side, words in ((4, "sequences of 16 for 16 samples"), (3, "")):
        reasons = evaluate(net, batch(h=side, w=side), "wrcor").reasons
        assert words in reasons.get("wrcor", "")
        assert bool(reasons) is bool(words)


def test_equal_weights_are_undefined_where_a_type_is_fixed():
    class Fixed(networks.Plain):
        def forward(self, x):
            return self.head(self.pool(self.features(x)).flatten(1).float())

    scores = evaluate(networks.fill(Fixed()), batch(torch.float32), "epsilon,synflow,snip")
    assert scores.reasons.keys() == {"epsilon", "synflow"}
    assert "fails in pass ConstantWeights" in scores.reasons["epsilon"]
