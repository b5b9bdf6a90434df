import json
import math
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn

from zeroshot.core import Batch, Net
from zeroshot.errors import ZeroshotError
from zeroshot.passes import census
from zeroshot.proxies import PROXIES
from zeroshot.scoring import evaluate
from zeroshot.spaces.autoformer import REACH, AutoFormer, _Attention, _distances
from zeroshot.spaces.space import Task

SPACE = AutoFormer()
TINY = AutoFormer(
    hidden=(12, 16), depths=(1, 2, 3), heads=(2, 3), head_dim=4, patch=4, resolution=16, images=16
)
TASK = Task(channels=2, size=16, classes=5)
DEEP = "h16/m3.5n2/m4n3/m4n2"

# A row of ViT-Bench-101
ROW = (
    '{"hidden_dim": 192, "mlp_ratio": [3.5, 4.0, 3.5, 4.0, 3.5, 3.5, 4.0, 3.5, 4.0, 4.0, 4.0, 3.5],'
    ' "depth": 12, "num_heads": [4, 4, 3, 4, 3, 3, 4, 4, 3, 3, 3, 4]}'
)
ROW_SPELLED = "h192/m3.5n4/m4n4/m3.5n3/m4n4/m3.5n3/m3.5n3/m4n4/m3.5n4/m4n3/m4n3/m4n3/m3.5n4"

# What the authors' search found in AutoFormer-Tiny; the ratio 3 is not among the space's options.
FOUND = {
    "hidden_dim": 192,
    "mlp_ratio": [3.5, 3.5, 3.0, 3.5, 3.0, 3.0, 4.0, 4.0, 3.5, 4.0, 3.5, 4.0, 3.5],
    "depth": 13,
    "num_heads": [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3],
}


def changed(**entries):
    """The row with other entries."""
    return json.dumps(json.loads(ROW) | entries)


class TestCost:
    def test_published(self):
        wider = AutoFormer(ratios=(3, 3.5, 4))
        arch = wider.parse(json.dumps(FOUND))
        cost = wider.cost(arch)
        assert 5.7e6 < cost.params < 5.9e6
        assert round(cost.macs / 1e9, 1) == 1.3
        without = replace(wider, relative_position=False).cost(arch)
        assert cost.params - without.params == 13 * 4 * 30 * 64  # tables of 30 distances
        assert math.floor(without.params / 1e5) == 57

    def test_vision_transformer_of_torchvision(self):
        vit = AutoFormer(
            hidden=(768,), depths=(12,), ratios=(4,), heads=(12,), relative_position=False
        )
        meta = torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1.meta
        cost = vit.cost(vit.at(0))
        assert cost.params == meta["num_params"]
        assert cost.macs / 1e9 == pytest.approx(meta["_ops"], rel=1e-3)

    @pytest.mark.parametrize("relative", [True, False])
    def test_is_what_a_trace_counts(self, relative):
        space = replace(TINY, relative_position=relative, resolution=24)
        arch, task = space.parse(DEEP), Task(channels=1, size=24, classes=7)
        with torch.device("meta"):
            module = space.build(arch, task)
        inputs = torch.empty(1, 1, 24, 24, device="meta")
        assert space.cost(arch, task) == census(Net(module), inputs)

    def test_is_the_resolutions_whatever_the_images_size(self):
        arch = SPACE.parse(ROW)
        costs = {SPACE.cost(arch, Task(size=size, classes=1000)) for size in (32, 64, 224)}
        assert costs == {SPACE.cost(arch)} == {AutoFormer(images=32).cost(arch)}
        assert AutoFormer(resolution=112).cost(arch).macs < SPACE.cost(arch).macs / 3.9

    def test_small(self):
        """Narrower networks, which cost what the full ones do."""
        small, arch = SPACE.small, SPACE.parse(ROW)
        assert small.cost(arch) == SPACE.cost(arch) == small.network(arch).cost()
        module = small.network(arch).module
        assert module.head.in_features == 48
        assert module.layers[0].attention.qkv.out_features == 3 * 4 * 16
        assert small.small.narrow == 1 / 16


class TestNotation:
    def test_json(self):
        arch = SPACE.parse(ROW)
        assert SPACE.spell(arch) == ROW_SPELLED
        assert SPACE.parse(ROW_SPELLED) == SPACE.canonical(arch) == arch

    def test_absent_layers(self):
        arch = SPACE.parse(f"{ROW_SPELLED}/(m3.5n3)/(m3.5n4)")
        assert SPACE.spell(arch) == f"{ROW_SPELLED}/(m3.5n3)/(m3.5n4)"
        assert SPACE.spell(SPACE.parse(f"{ROW_SPELLED}/(m3.5n3)/(m3.5n3)")) == ROW_SPELLED
        assert SPACE.canonical(arch) == SPACE.parse(ROW)
        assert SPACE.cost(arch) == SPACE.cost(SPACE.parse(ROW))

    def test_sizes(self):
        assert SPACE.size == 2_415_919_104  # as the docstring says
        assert sum(3 * 4**depth for depth in SPACE.depths) == 1_056_964_608
        assert len({TINY.canonical(arch) for arch in TINY}) == 2 * (4 + 4**2 + 4**3)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("h192", "something like 'h192/m3.5n3/m4n4/…', or JSON"),
            ("192/m4n3", "something like"),
            ("h192/m4n3/", "something like"),
            ("h192/m4n3/(m4n3", "something like"),
            ("h192/m4n3", "depth 12 or 13 or 14, found 1"),
            (ROW_SPELLED.replace("h192", "h193"), "hidden_dim 192 or 216 or 240, found 193"),
            (ROW_SPELLED.replace("m4n4", "m3n4", 1), "layer 2 mlp_ratio 3.5 or 4, found 3"),
            (ROW_SPELLED.replace("m4n4", "m4n5", 1), "layer 2 num_heads 3 or 4, found 5"),
            (ROW_SPELLED + "/(m4n3)", "14 layers in all, if absent ones are mentioned"),
            (ROW_SPELLED.replace("/m4n4", "/(m4n4)", 1) + "/m4n3", "in parentheses, at the end"),
            (ROW_SPELLED + "/m4n3" * 3, "depth 12 or 13 or 14, found 15"),
            (ROW[:-1], "JSON that is whole"),
            ("{" * 100_000, "JSON that is whole"),
            ("{}", "JSON with hidden_dim, mlp_ratio, depth, num_heads"),
            (changed(qkv=3), "JSON with hidden_dim"),
            (changed(depth=13), "lists mlp_ratio and num_heads that are as long as the depth"),
            (changed(mlp_ratio="3.5"), "lists mlp_ratio"),
            (changed(hidden_dim="192"), "hidden_dim 192 or 216 or 240, found '192'"),
            (changed(hidden_dim=[192]), "found [192]"),
            (changed(hidden_dim=10**400), "found 1000"),
            (changed(mlp_ratio=[3.5] * 11 + [math.nan]), "layer 12 mlp_ratio 3.5 or 4, found nan"),
            (changed(num_heads=[3] * 11 + [True]), "layer 12 num_heads 3 or 4, found True"),
        ],
    )
    def test_refuses(self, text, words):
        with pytest.raises(ZeroshotError, match="is no autoformer architecture") as error:
            SPACE.parse(text)
        assert words in str(error.value)
        assert len(str(error.value)) < 250


def table_of(distances, part, one, other):
    """The vector for two tokens, by their places in the image; 0 is that of the class token."""
    rows, columns = part.tables
    if one is None or other is None:
        return rows[0] + columns[0]
    down, right = (max(-REACH, min(REACH, b - a)) for a, b in zip(one, other, strict=True))
    return rows[REACH + 1 + down] + columns[REACH + 1 + right]


class TestAttention:
    @pytest.mark.parametrize("side", [3, 17])
    def test_relative_positions_pair_by_pair(self, side):
        """Shaw et al.'s sums, one pair of tokens after the other; 17 patches reach beyond 14."""
        torch.manual_seed(0)
        attention = _Attention(6, 2, 4, relative=True).double()
        for parameter in attention.parameters():
            nn.init.normal_(parameter)
        tokens = torch.randn(1, side**2 + 1, 6, dtype=torch.float64)
        places = [None, *((i // side, i % side) for i in range(side**2))]
        asked = [0, 1, side**2] if side > 3 else range(len(places))
        found = attention(tokens, _distances(side))
        queries, keys, values = attention.qkv(tokens)[0].view(len(places), 3, 2, 4).unbind(1)
        for i in asked:
            heads = []
            for head in range(2):
                keyed, valued = (
                    torch.stack(
                        [
                            own[j, head] + table_of(side, part, places[i], places[j])
                            for j in range(len(places))
                        ]
                    )
                    for own, part in ((keys, attention.keys), (values, attention.values))
                )
                weights = (keyed @ queries[i, head] / 2).softmax(0)
                heads.append(weights @ valued)
            assert torch.allclose(found[0, i], attention.proj(torch.cat(heads)))


class TestNetwork:
    def test_is_pytorchs_encoder_without_relative_positions(self):
        space = replace(TINY, hidden=(12,), depths=(2,), heads=(3,), relative_position=False)
        arch = space.parse("h12/m3.5n3/m3.5n3")
        module = space.network(arch, TASK, init="xavier_normal").module
        found = expected = torch.randn(2, 5, 12)
        for layer in module.layers:
            theirs = nn.TransformerEncoderLayer(
                12, 3, 42, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            parts = {
                "self_attn.in_proj_": layer.attention.qkv,
                "self_attn.out_proj.": layer.attention.proj,
                "linear1.": layer.mlp[1],
                "linear2.": layer.mlp[3],
                "norm1.": layer.first_norm,
                "norm2.": layer.mlp[0],
            }
            weights = {f"{name}weight": part.weight for name, part in parts.items()}
            biases = {f"{name}bias": part.bias for name, part in parts.items()}
            theirs.load_state_dict(weights | biases)
            expected = theirs(expected)
            found = layer(found, module.distances)
            assert torch.allclose(found, expected, atol=1e-5)

    def test_classifies_the_mean_of_the_patches(self):
        module = TINY.network(TINY.parse(DEEP), TASK).module
        seen = []
        module.norm.register_forward_hook(lambda _, __, tokens: seen.append(tokens))
        logits = module(torch.rand(2, 2, 16, 16))
        (tokens,) = seen
        assert tokens.shape == (2, 1 + 16, 16)
        assert torch.allclose(logits, module.head(tokens[:, 1:].sum(1) / 16), atol=1e-6)

    def test_layers(self):
        module = TINY.network(TINY.parse(DEEP), TASK).module
        layers = list(module.layers)
        assert [layer.attention.heads for layer in layers] == [2, 3, 2]
        assert [layer.attention.qkv.out_features for layer in layers] == [24, 36, 24]
        assert [layer.mlp[1].out_features for layer in layers] == [56, 64, 64]
        assert TINY.network(TINY.parse(DEEP), TASK).blocks == ("layers.0", "layers.1", "layers.2")

    def test_weights_are_the_authors(self):
        module = SPACE.network(SPACE.parse(ROW)).module
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
                assert not layer.bias.any()
        layer = module.layers[0].attention
        tables = layer.keys.tables, layer.values.tables
        for parameter in (module.class_token, module.positions, *tables):
            assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.2)

    def test_is_at_least_one_channel_wide(self):
        module = replace(TINY, narrow=0.01).network(TINY.parse(DEEP), TASK).module
        assert module.head.in_features == 1
        assert module(torch.rand(2, 2, 16, 16)).shape == (2, 5)

    def test_tells_positions_apart(self):
        """Patches in another order give another answer; without positions they do not."""
        net = TINY.network(TINY.parse(DEEP), TASK)
        images = torch.rand(2, 2, 16, 16)
        mirrored = images.roll(4, dims=3)
        assert not torch.allclose(net(images), net(mirrored), atol=1e-7)
        with torch.no_grad():
            for name, parameter in net.module.named_parameters():
                if name == "positions" or name.endswith("tables"):
                    parameter.zero_()
        assert torch.allclose(net(images), net(mirrored), atol=1e-7)

    def test_images_of_broken_patches(self):
        for call in (SPACE.network, SPACE.build):
            with pytest.raises(ZeroshotError, match=r"images of 30 pixels: .* patches of 16"):
                call(SPACE.at(0), Task(size=30))
        with pytest.raises(ZeroshotError, match="images of 100 pixels"):
            AutoFormer(resolution=100).cost(SPACE.at(0))

    def test_proxies_of_the_default_ensemble_are_defined(self):
        generator = torch.Generator().manual_seed(0)
        shown = Batch(torch.randn(8, 2, 16, 16, generator=generator), torch.arange(8) % 5)
        wanted = ("flops", "az_expressivity", "az_trainability", "jacob_cov", "logsynflow", "dss")
        proxies = tuple(proxy for proxy in PROXIES if proxy.name in wanted)
        scores = evaluate(TINY.network(TINY.parse(DEEP), TASK), shown, proxies)
        assert len(scores) == len(wanted)
        assert all(math.isfinite(score) for score in scores.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"narrow": 0.0}, "narrow 0.0: autoformer needs a positive number"),
        ({"patch": 0}, "patch 0"),
        ({"heads": ()}, "heads (): autoformer needs different positive numbers to choose from"),
        ({"depths": (0, 1)}, "depths (0, 1)"),
        ({"ratios": (4, 4.0)}, "ratios (4, 4.0)"),
    ],
)
def test_refuses_shapes(options, words):
    with pytest.raises(ZeroshotError, match="autoformer") as error:
        AutoFormer(**options)
    assert words in str(error.value)
