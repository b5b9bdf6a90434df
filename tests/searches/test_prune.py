import math

import numpy as np
import pytest

from zeroshot.ranking import Ensemble, log_rank_sum
from zeroshot.searches.prune import (
    Measured,
    Without,
    _mean,
    by_ensemble,
    dense_ranks,
    from_rows,
    left,
    networks,
    prune,
    relative_gain,
    rows_of,
    te_nas,
    to_measure,
)
from zeroshot.spaces import DARTS, NASBENCH201, Arch

INF = math.inf
AXES = len(NASBENCH201.axes)
TE_NAS = te_nas()


def worth(keep):
    """Measures as if `keep` were what matters: losing it hurts κ and regions most."""

    def measure(arch, options, number):
        for axis, option in options:
            loss = 1.0 if option == keep[axis] else 0.1 * option
            yield [Without(Measured((10.0, 100.0)), Measured((10 + loss, 100 - loss)))] * 2

    return measure


class TestPrune:
    def test_finds_what_matters_on_every_axis(self):
        keep = (1, 2, 3, 4, 3, 2)
        arch, history = prune(NASBENCH201, NASBENCH201.prunable, worth(keep), TE_NAS)
        assert arch == NASBENCH201.arch(*keep)
        assert len(history) == AXES * (4 + 3 + 2)
        assert [c.round for c in history] == [1] * 24 + [2] * 18 + [3] * 12
        assert sum(c.dropped for c in history) == AXES * 3

    def test_importance_by_hand(self):
        """κ: 10 → 9 helps (0.1), 10 → 12 hurts; regions: 100 → 100 is free, 100 → 50 hurts."""
        start = NASBENCH201.arch(1, 1, 1, 1, 1, 1)
        start = type(start)(start.space, ((1, 2, 3), *start.open[1:]))
        after = {1: (12.0, 50.0), 2: (9.0, 100.0), 3: (9.0, 50.0)}

        def measure(arch, options, number):
            whole = Measured((10.0, 100.0))
            return [[Without(whole, Measured(after[option], True))] for _, option in options]

        arch, history = prune(NASBENCH201, start, measure, TE_NAS)
        first = history[:3]
        assert [c.effects["condition"].gain for c in first] == [-0.2, 0.1, 0.1]
        assert [c.effects["regions"].gain for c in first] == [-0.5, 0.0, -0.5]
        assert [c.effects["condition"].rank for c in first] == [1, 0, 0]
        assert [c.effects["regions"].rank for c in first] == [1, 0, 1]
        assert [c.singular for c in first] == [1, 1, 1]
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
            TE_NAS,
            after_round=lambda arch, seen: states.append((arch, from_rows(rows_of(seen), TE_NAS))),
        )
        assert len(states) == 3
        again, seen = prune(NASBENCH201, states[0][0], worth(keep), TE_NAS, history=states[0][1])
        assert again == whole
        assert seen == history

    def test_axis_by_axis(self):
        """ZC-PT: of each axis, in the order given, the option stays whose loss hurts most."""
        keep = (1, 2, 3, 4, 3, 2)
        order = [3, 0, 5, 1, 2, 4]
        whole = NASBENCH201.prunable
        arch, history = prune(NASBENCH201, whole, worth(keep), TE_NAS, order=order)
        assert arch == NASBENCH201.arch(*keep)
        axes = [NASBENCH201.axes[axis].name for axis in order for _ in range(4)]
        assert [c.axis for c in history] == axes
        assert [c.round for c in history] == [1 + i // 4 for i in range(24)]
        assert sum(c.dropped for c in history) == 18
        assert len(history) == to_measure(NASBENCH201, whole, order, 1)

    @pytest.mark.parametrize(("finalists", "count"), [(1, 1), (63, 1), (64, 64), (729, 729)])
    def test_stops_when_few_are_left(self, finalists, count):
        keep = (1, 2, 3, 4, 3, 2)
        whole = NASBENCH201.prunable
        arch, history = prune(NASBENCH201, whole, worth(keep), TE_NAS, finalists=finalists)
        rest = list(networks(NASBENCH201, arch))
        assert len(set(rest)) == len(rest) == left(NASBENCH201, arch) == count
        assert NASBENCH201.arch(*keep) in rest
        assert len(history) == to_measure(NASBENCH201, whole, None, finalists)

    def test_by_an_ensemble(self):
        """Σ log(rank / n) of the gains: an option whose loss helps both proxies goes first."""
        pair = Ensemble("pair", ("a", "b"), log_rank_sum, "")
        criterion = by_ensemble(pair, {"b": "lower"})
        assert criterion.better == {"a": "higher", "b": "lower"}
        after = {1: (-4.0, 2.0), 2: (-1.0, 1.0), 3: (-3.0, 3.0), 4: (-8.0, 4.0)}

        def measure(arch, options, number):
            return [[Without(Measured((-2.0, 2.0)), Measured(after[o]))] for _, o in options]

        start = NASBENCH201.arch(1, 1, 1, 1, 1, 1)
        start = type(start)(start.space, ((1, 2, 3, 4), *start.open[1:]))
        _, history = prune(NASBENCH201, start, measure, criterion)
        first = history[:4]
        assert [c.effects["a"].gain for c in first] == [-1.0, 0.5, -0.5, -3.0]
        assert [c.effects["b"].gain for c in first] == [0.0, 0.5, -0.5, -1.0]
        ranks = {1: (2, 3), 2: (4, 4), 3: (3, 2), 4: (1, 1)}  # 4 of 4: dropping it helps most
        expected = [-math.log(a / 4) - math.log(b / 4) for a, b in ranks.values()]
        assert [c.importance for c in first] == pytest.approx(expected)
        assert [c.option for c in first if c.dropped] == [NASBENCH201.axes[0].options[2]]


class TestRelativeGain:
    @pytest.mark.parametrize(
        ("before", "after", "gain"),
        [
            (10, 5, 0.5),
            (10, 20, -1),
            (-10, -20, 1),
            (0, 0, 0),
            (0, 3, -math.inf),
            (math.inf, math.inf, 0),
            (math.inf, 3, math.inf),
            (3, math.inf, -math.inf),
        ],
    )
    def test_by_hand(self, before, after, gain):
        """Of something that is to be low; the sign turns for what is to be high."""
        assert relative_gain(float(before), float(after), "lower") == gain
        assert relative_gain(float(before), float(after), "higher") == -gain

    def test_nan_stays(self):
        assert math.isnan(relative_gain(1.0, math.nan, "higher"))


class TestMean:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([1, 2, 6], 3),
            ([INF, 1, -2], INF),
            ([-INF, 1, 2], -INF),
            ([INF, -INF, 5], 0),
            ([INF, INF, -INF], INF),
        ],
    )
    def test_by_hand(self, values, expected):
        """What repeats do not agree on cancels; the others decide."""
        assert _mean(map(float, values)) == expected


class TestAsPublished:
    """What `te_nas` does with digits, and without."""

    def dropped(self, digits, *changes):
        """The options that go of two, from the relative changes of κ and of regions."""
        start = NASBENCH201.arch(3, 3, 3, 3, 3, 3)
        start = type(start)(start.space, ((1, 3), *start.open[1:]))

        def measure(arch, options, number):
            for κs, regions in changes:
                yield [
                    Without(
                        Measured((1000.0, 3000.0)), Measured((1000 * (1 - κ), 3000 * (1 + region)))
                    )
                    for κ, region in zip(κs, regions, strict=True)
                ]

        _, history = prune(NASBENCH201, start, measure, te_nas(digits))
        return [c.option for c in history if c.dropped]

    def test_ties_go_by_condition(self):
        changes = ([0.1], [0.2]), ([0.2], [0.1])
        assert self.dropped(3, *changes) == ["nor_conv_3x3"]
        assert self.dropped(None, *changes) == ["skip_connect"]

    def test_every_repeat_is_rounded(self):
        changes = ([0.1] * 3, [0.0] * 3), ([0.1] * 3, [0.0004] * 3)
        assert self.dropped(3, *changes) == ["skip_connect"]
        assert self.dropped(None, *changes) == ["nor_conv_3x3"]


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
                yield [Without(Measured((10.0, 100.0)), Measured((10 + loss, 100 - loss)))]

        arch, history = prune(DARTS, DARTS.prunable, measure, TE_NAS)
        assert arch == wanted
        assert DARTS.parse(DARTS.spell(arch)) == arch
        count = range(1, 1 + max(c.round for c in history))
        rounds = [sum(c.round == number for c in history) for number in count]
        # 7 options, then 4, on 28 edges; then the inputs of each node that has more than two.
        assert rounds == [196, 112, 3, 4, 5, 3, 4, 5]
        dropped = [sum(c.dropped for c in history if c.round == number) for number in count]
        assert dropped == [84, 84, 1, 2, 3, 1, 2, 3]
        assert len(history) == to_measure(DARTS, DARTS.prunable, None, 1)
        assert to_measure(DARTS, arch, None, 1) == 0

    def test_inputs_of_a_node_are_compared_with_each_other_alone(self):
        """Two of the first node's tie; with all others between them, the second would go."""
        arch = Arch(DARTS.name, ((1,),) * 28)
        first = DARTS.groups[1]
        after = dict(zip(first, [(12.0, 101.0), (13.0, 106.0), (14.0, 100.5)], strict=True))
        seen = []

        def measure(arch, options, number):
            seen.append([axis for axis, _ in options])
            for axis, _ in options:
                left = Measured(after.get(axis, (14.0, 103.0)))
                yield [Without(Measured((10.0, 100.0)), left)]

        found, _ = prune(DARTS, arch, measure, TE_NAS)
        assert seen == [list(group) for group in DARTS.groups if len(group) > 2]
        assert [found.genes[axis] for axis in first] == [0, 1, 1]

    def test_inputs_are_chosen_among_the_finalists(self):
        """One option on every edge: 1, 3, 6 and 10 pairs of inputs for each of the two cells."""
        arch = Arch(DARTS.name, ((1,),) * 28)
        assert left(DARTS, arch) == (1 * 3 * 6 * 10) ** 2
        closed = [axis for group in DARTS.groups[2:] for axis in group[2:]]
        few = Arch(DARTS.name, tuple((0,) if axis in closed else (1,) for axis in range(28)))
        found = list(networks(DARTS, few))
        assert len(found) == len(set(found)) == left(DARTS, few) == 3
        for one in found:
            assert all(sum(one.genes[axis] != 0 for axis in group) == 2 for group in DARTS.groups)
