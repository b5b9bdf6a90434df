import math

import numpy as np
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.pruning import _to_measure
from zeroshot.search.prune import (
    Measured,
    Without,
    dense_ranks,
    from_rows,
    prune,
    relative_change,
    rows_of,
)
from zeroshot.spaces import DARTS, NASBENCH201

AXES = len(NASBENCH201.axes)


def worth(keep):
    """Measures as if `keep` were what matters: losing it hurts κ and regions most."""

    def measure(arch, options, number):
        for axis, option in options:
            loss = 1.0 if option == keep[axis] else 0.1 * option
            yield [Without(Measured(10.0, 100.0), Measured(10 + loss, 100 - loss))] * 2

    return measure


class TestPrune:
    def test_finds_what_matters_on_every_axis(self):
        keep = (1, 2, 3, 4, 3, 2)
        arch, history = prune(NASBENCH201, NASBENCH201.prunable, worth(keep))
        assert arch == NASBENCH201.arch(*keep)
        assert len(history) == AXES * (4 + 3 + 2)
        assert [c.round for c in history] == [1] * 24 + [2] * 18 + [3] * 12
        assert sum(c.dropped for c in history) == AXES * 3

    def test_importance_by_hand(self):
        """κ: 10 → 9 helps (0.1), 10 → 12 hurts; regions: 100 → 100 is free, 100 → 50 hurts."""
        start = NASBENCH201.arch(1, 1, 1, 1, 1, 1)
        start = type(start)(start.space, ((1, 2, 3), *start.open[1:]))
        after = {1: Measured(12.0, 50.0), 2: Measured(9.0, 100.0), 3: Measured(9.0, 50.0)}

        def measure(arch, options, number):
            return [[Without(Measured(10.0, 100.0), after[option])] for _, option in options]

        arch, history = prune(NASBENCH201, start, measure)
        first = history[:3]
        assert [c.condition_change for c in first] == [-0.2, 0.1, 0.1]
        assert [c.condition_rank for c in first] == [1, 0, 0]
        assert [c.regions_rank for c in first] == [1, 0, 1]
        assert [c.importance for c in first] == [2, 0, 1]
        assert [c.option for c in history if c.dropped] == ["nor_conv_1x1", "nor_conv_3x3"]
        assert arch.genes[0] == 1

    def test_goes_on_from_a_history(self):
        keep = (1, 2, 3, 4, 3, 2)
        states = []
        whole, history = prune(
            NASBENCH201,
            NASBENCH201.prunable,
            worth(keep),
            after_round=lambda arch, seen: states.append((arch, from_rows(rows_of(seen)))),
        )
        assert len(states) == 3
        again, seen = prune(NASBENCH201, states[0][0], worth(keep), history=states[0][1])
        assert again == whole
        assert seen == history

    def test_refuses_what_could_not_be_measured(self):
        def measure(arch, options, number):
            return [[Without(Measured(1.0, 1.0), Measured(math.nan, 1.0))] for _ in options]

        with pytest.raises(ZeroshotError, match="without skip_connect on 0->1"):
            prune(NASBENCH201, NASBENCH201.prunable, measure)


class TestRelativeChange:
    @pytest.mark.parametrize(
        ("before", "after", "change"),
        [
            (10, 5, 0.5),
            (10, 20, -1),
            (0, 0, 0),
            (0, 3, -math.inf),
            (math.inf, math.inf, 0),
            (math.inf, 3, math.inf),
            (3, math.inf, -math.inf),
        ],
    )
    def test_by_hand(self, before, after, change):
        assert relative_change(float(before), float(after)) == change

    def test_nan_stays(self):
        assert math.isnan(relative_change(1.0, math.nan))


class TestDenseRanks:
    def test_by_hand(self):
        assert dense_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2, 0, 2, 1]

    def test_rounds_before_sorting_but_not_before_comparing(self):
        """Equal to three figures: they keep their order, and still get different ranks."""
        values = np.array([0.12341, 0.12339, 0.5])
        assert dense_ranks(values, digits=3).tolist() == [0, 1, 2]
        assert dense_ranks(values).tolist() == [1, 0, 2]

    def test_infinite_values_are_extremes(self):
        assert dense_ranks(np.array([math.inf, 0.0, -math.inf]), digits=3).tolist() == [2, 1, 0]


class TestDarts:
    def test_ends_with_two_inputs_for_each_node(self):
        """The options that matter are those of a genotype; other edges are worth less."""
        wanted = DARTS.sample(1, np.random.default_rng(0))[0]

        def measure(arch, options, number):
            for axis, option in options:
                gene = wanted.genes[axis]
                loss = (
                    2.0 if option == gene else (1.0 if gene == 0 and option == 5 else 0.01 * option)
                )
                yield [Without(Measured(10.0, 100.0), Measured(10 + loss, 100 - loss))]

        arch, history = prune(DARTS, DARTS.prunable, measure)
        assert arch == wanted
        assert DARTS.parse(DARTS.spell(arch)) == arch
        rounds = [sum(c.round == number for c in history) for number in (1, 2, 3)]
        # 7 options, then 4, on 28 edges; then the inputs of nodes that have more than two.
        assert rounds == [196, 112, 24]
        assert max(c.round for c in history) == 3
        dropped = [sum(c.dropped for c in history if c.round == number) for number in (1, 2, 3)]
        assert dropped == [84, 84, 12]
        assert len(history) == _to_measure(DARTS, DARTS.prunable)
        assert _to_measure(DARTS, arch) == 0
