import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from zeroshot.core import Batch
from zeroshot.errors import ZeroshotError
from zeroshot.proxies import PROXIES
from zeroshot.scoring import evaluate
from zeroshot.spaces import NASNET, NasNet, Task
from zeroshot.spaces.nasnet import AXES, BLOCKS, OPS, STATES, _cell, _operation

TINY = NasNet(filters=8, repeats=1, stem_multiplier=1)
TASK = Task(channels=2, size=8, classes=5)

# NASNet-A, in the lists of its authors' code (TensorFlow, Apache-2.0).
NORMAL = {
    "operations": [
        *("separable_5x5_2", "separable_3x3_2", "separable_5x5_2", "separable_3x3_2"),
        *("avg_pool_3x3", "none", "avg_pool_3x3", "avg_pool_3x3", "separable_3x3_2", "none"),
    ],
    "hiddenstate_indices": [0, 1, 1, 1, 0, 1, 1, 1, 0, 0],
    "used_hiddenstates": [1, 0, 0, 0, 0, 0, 0],
}
REDUCTION = {
    "operations": [
        *("separable_5x5_2", "separable_7x7_2", "max_pool_3x3", "separable_7x7_2"),
        *("avg_pool_3x3", "separable_5x5_2", "none", "avg_pool_3x3"),
        *("separable_3x3_2", "max_pool_3x3"),
    ],
    "hiddenstate_indices": [0, 1, 0, 1, 0, 1, 3, 2, 2, 0],
    "used_hiddenstates": [1, 1, 1, 0, 0, 0, 0],
}
NASNET_A = json.dumps({"normal": NORMAL, "reduction": REDUCTION})


def changed(**entries):
    """NASNet-A with other lists in its normal cell."""
    return json.dumps({"normal": NORMAL | entries, "reduction": REDUCTION})


class TestNasNetA:
    @pytest.mark.parametrize(
        ("options", "task", "params", "macs"),
        [
            ({}, Task(), 3.3, None),
            (
                {"filters": 44, "repeats": 4, "stem_multiplier": 1},
                Task(size=224, classes=1000),
                5.3,
                564,
            ),
            ({"filters": 168}, Task(size=331, classes=1000), 88.9, 23_800),
        ],
        ids=["6 @ 768", "4 @ 1056", "6 @ 4032"],
    )
    def test_published_costs(self, options, task, params, macs):
        space = NasNet(**options)
        cost = space.cost(space.parse(NASNET_A), task)
        assert cost.params / 1e6 == pytest.approx(params, rel=0.009)  # as many digits as published
        assert macs is None or cost.macs / 1e6 == pytest.approx(macs, rel=0.011)

    def test_cells_give_what_the_names_say(self):
        """N @ P has P channels at the end: six states of the last normal cell."""
        module = NASNET.network(NASNET.parse(NASNET_A)).module
        assert module.head[-1].in_features == 768
        assert len(module.cells) == 20


class TestNotation:
    def test_reads_what_it_writes(self):
        arch = NASNET.parse(NASNET_A)
        assert NASNET.parse(NASNET.spell(arch)) == NASNET.canonical(arch) == arch
        assert json.loads(NASNET.spell(arch))["normal"]["used_hiddenstates"] == [1] + [0] * 6
        assert NASNET.parse(changed(combinations=["add"] * 5)) == arch
        assert NASNET.parse(changed(combinations=["concat"] + ["add"] * 4)) != arch

    def test_what_is_not_canonical_is_spelled_by_options(self):
        genes = list(NASNET.parse(NASNET_A).genes)
        genes[AXES - 1] = 1  # state 5 of the normal cell is read by none: kept anyway
        other = NASNET.arch(*genes)
        assert NASNET.spell(other) == ".".join(map(str, genes))
        assert NASNET.canonical(other) == NASNET.parse(NASNET_A)

    def test_size(self):
        inputs = (2 * 3 * 4 * 5 * 6) ** 2
        assert NASNET.size == (inputs * 13 ** (2 * BLOCKS) * 2**BLOCKS * 2 ** (STATES - 1)) ** 2

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "JSON with the lists of a normal and a reduction cell"),
            ("[" * 100_000, "JSON with the lists"),
            ("[]", "JSON with normal and reduction"),
            (json.dumps({"normal": NORMAL}), "JSON with normal and reduction"),
            (json.dumps({"normal": 1, "reduction": REDUCTION}), "lists operations, hiddenstate"),
            (changed(extra=[]), "lists operations, hiddenstate_indices, used_hiddenstates"),
            (changed(operations=["none"]), "a list of 10"),
            (changed(operations=["none"] * 9 + ["sep"]), "operations[9]: sep"),
            (changed(operations=["none"] * 9 + [["a"]]), "one of identity, conv_1x1"),
            (changed(hiddenstate_indices=[0, 2] + [0] * 8), "a state from 0 to 1"),
            (changed(hiddenstate_indices=[True] + [0] * 9), "hiddenstate_indices[0]: True"),
            (changed(used_hiddenstates=[0] * 6), "a list of 7"),
            (changed(used_hiddenstates=[1, 0, 0, 0, 0, 0, 1]), "0, for no block reads that state"),
            (changed(used_hiddenstates=[2, 0, 0, 0, 0, 0, 0]), "used_hiddenstates[0]: 2"),
            (changed(combinations=["add"] * 4 + ["mul"]), "add or concat"),
        ],
    )
    def test_refuses(self, text, words):
        with pytest.raises(ZeroshotError, match="no nasnet architecture") as error:
            NASNET.parse(text)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


class TestCanonical:
    def test_blocks_and_halves_may_change_places(self):
        """Blocks 0 and 1 of a cell that do not read each other, and the halves of block 2."""
        random = np.random.default_rng(0)
        for arch in NASNET.sample(20, random):
            genes = list(arch.genes)
            genes[5], genes[7] = genes[5] % 2, genes[7] % 2  # block 1 does not read block 0
            moved = list(genes)
            moved[:5], moved[5:10] = genes[5:10], genes[:5]
            for place in (10, 12, 15, 17, 20, 22):
                moved[place] = {2: 3, 3: 2}.get(genes[place], genes[place])
            moved[27], moved[28] = genes[28], genes[27]
            moved[10:14] = moved[12:14] + moved[10:12]
            one, other = NASNET.arch(*genes), NASNET.arch(*moved)
            assert NASNET.canonical(one) == NASNET.canonical(other)

    def test_computes_the_same(self):
        """With weights that are all equal, for where they are drawn their order says nothing."""
        images = torch.rand(2, 2, 8, 8, dtype=torch.double)
        for arch in TINY.sample(4, np.random.default_rng(1)):
            answers = []
            for one in (arch, TINY.canonical(arch)):
                module = TINY.build(one, TASK).double().eval()
                with torch.no_grad():
                    for parameter in module.parameters():
                        if parameter.ndim > 1:
                            parameter.fill_(1 / parameter[0].numel())
                    module.head[-1].bias.zero_()
                    answers.append(module(images))
            torch.testing.assert_close(*answers, rtol=1e-9, atol=0)
            assert answers[0].std(0).sum() > 0

    def test_what_is_kept_matters_where_it_is_read(self):
        arch = NASNET.parse(NASNET_A)
        genes = list(arch.genes)
        genes[AXES - 6] = 1
        assert NASNET.canonical(NASNET.arch(*genes)) != arch
        assert _cell(tuple(genes[:AXES])).output == tuple(range(STATES))


class TestNetwork:
    @pytest.mark.parametrize("op", OPS)
    @pytest.mark.parametrize("stride", [1, 2])
    def test_operations_keep_channels_and_halve_sizes(self, op, stride):
        for size in (7, 8):
            found = _operation(op, 8, stride)(torch.rand(2, 8, size, size))
            assert found.shape == (2, 8, -(-size // stride), -(-size // stride))

    def test_cells_compute_what_the_lists_say(self):
        text = changed(combinations=["add", "concat", "add", "add", "add"])
        for cell in TINY.network(TINY.parse(text), TASK).module.cells:
            width = cell.last[1].in_channels
            before = cell.before[1] if isinstance(cell.before, nn.Sequential) else cell.before.here
            larger = 1 if isinstance(cell.before, nn.Sequential) else 2
            shown = torch.rand(2, before.in_channels, 4 * larger, 4 * larger)
            last = torch.rand(2, width, 4, 4)
            states = [cell.last(last), cell.before(shown)]
            for number, block in enumerate(cell.plan.blocks):
                (one, _), (other, _) = block.edges
                first = cell.halves[2 * number](states[one])
                second = cell.halves[2 * number + 1](states[other])
                if block.combination:
                    joined = cell.joins[str(number)](torch.cat([first, second], 1))
                    states.append(joined)
                else:
                    states.append(first + second)
            expected = torch.cat([states[state] for state in cell.plan.output], 1)
            torch.testing.assert_close(cell(shown, last), expected)

    def test_unread_inputs_of_reductions_shrink(self):
        """A cell whose blocks read state 0 alone, by identity: state 1 is part of the output."""
        arch = TINY.arch(*(0,) * len(TINY.axes))
        module = TINY.network(arch, TASK).module
        assert all(cell.plan.output == (1, 2, 3, 4, 5, 6) for cell in module.cells)
        reduction = module.cells[1]
        assert set(reduction.shrinks) == {"1"}
        assert module(torch.rand(2, 2, 8, 8)).shape == (2, 5)

    def test_stem_for_large_images(self):
        space = replace(TINY, stem="imagenet")
        module = space.network(space.parse(NASNET_A), replace(TASK, size=64)).module
        assert len(module.cells) == 2 + 5
        assert module.stem[0].stride == (2, 2)
        assert module.stem[0].out_channels == 32
        assert module(torch.rand(2, 2, 64, 64)).shape == (2, 5)

    def test_proxies_of_the_default_ensemble_are_defined(self):
        generator = torch.Generator().manual_seed(0)
        shown = Batch(torch.randn(4, 2, 16, 16, generator=generator), torch.arange(4) % 5)
        wanted = ("az_expressivity", "az_progressivity", "az_trainability", "naswot")
        proxies = tuple(proxy for proxy in PROXIES if proxy.name in wanted)
        net = TINY.network(TINY.parse(NASNET_A), replace(TASK, size=16))
        assert not any(part.inplace for part in net.module.modules() if isinstance(part, nn.ReLU))
        scores = evaluate(net, shown, proxies)
        assert len(scores) == len(wanted)
        assert not scores.reasons


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"filters": 7}, "filters 7: nasnet needs at least 8"),
        ({"repeats": 0}, "repeats 0: nasnet needs at least 1"),
        ({"stem": "large"}, "stem 'large': expected auto, cifar or imagenet"),
    ],
)
def test_refuses_shapes(options, words):
    with pytest.raises(ZeroshotError, match=words):
        NasNet(**options)
