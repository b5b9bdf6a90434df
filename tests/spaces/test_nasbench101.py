from collections import defaultdict
from itertools import permutations, product
from math import isqrt

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests import networks
from zeroshot.errors import ZeroshotError
from zeroshot.spaces.nasbench101 import EDGES, OPS, NasBench101
from zeroshot.spaces.space import Task

CONV3, CONV1, POOL = OPS
SPACE = NasBench101()
TINY = NasBench101(channels=12, stacks=2, modules=2)  # 12 channels divide evenly
TASK = Task(channels=2, size=8, classes=5)

# Rows of the benchmark: adjacency matrix, operations, module hash, trainable parameters. The last
# two cells are not the first of their class in the order in which the benchmark enumerates. A
# random 3,000 rows were once compared in the same way: all hashes and parameters are equal.
GOLDEN = (
    ("0101000100000110000100000", "012", "16d895d349bc445be9e7b4c3f4bc9278", 3_468_426),
    ("0111100101000100000100000", "120", "0bedf0b569d61d8fae010dc8450ef5d2", 4_779_018),
    (
        "010110001010000110000010000001000000",
        "2010",
        "05806aa009e681f5eadad83026f4f06a",
        22_257_802,
    ),
    ("010100001010000101000011000001000000", "0202", "088587d5441ee8e2b074e30bd41ac899", 2_669_881),
    ("010010001010000101000010000001000000", "0021", "1b70167e550fa1b5b264bfbcf44e0cd6", 5_793_546),
    (
        "0100000001000100010000000111000001000000010000000",
        "20211",
        "04f0edf4c8c5fde3f38a232c8a948551",
        1_568_271,
    ),
    (
        "0110000000100100010000000110000000100000010000000",
        "20222",
        "19f35dc534e25ced3b929beec3d22dcd",
        1_628_959,
    ),
    (
        "0101000001000000001100000001000001100000010000000",
        "02011",
        "0677c2b1f660eb0511402391b1e9fbf2",
        2_902_069,
    ),
    (
        "0100100001000000010100000010000001000000010000000",
        "01021",
        "1b0d41731fc5df2ce9ca54b2b6004ba6",
        22_421_642,
    ),
)
golden = pytest.mark.parametrize(
    ("matrix", "ops", "module_hash", "params"), GOLDEN, ids=[row[2][:8] for row in GOLDEN]
)
INCEPTION = "0111010000000100000010000100000000100000010000000-10002"  # of the benchmark's README


def cell(edges, *ops):
    """An architecture by its edges, to 6 as the output, and the operations of vertices 1 to 5."""
    given = [OPS.index(op) + 1 if op else 0 for op in ops]
    return SPACE.arch(*(int(edge in edges) for edge in EDGES), *given)


def superfluous(matrix):
    """Slow and obvious: the vertices of no path from first to last, by powers of the matrix."""
    n = len(matrix)
    reach = np.linalg.matrix_power(np.eye(n, dtype=int) + matrix, n) > 0
    return [v for v in range(n) if not (reach[0, v] and reach[v, n - 1])]


def all_cells(vertices):
    """The notation of all cells of so many vertices that are all on a path, 0→1 changing first."""
    pairs = [(i, j) for j in range(1, vertices) for i in range(j)]
    for number in range(2 ** len(pairs)):
        matrix = np.zeros((vertices, vertices), dtype=int)
        for place, edge in enumerate(pairs):
            matrix[edge] = number // 2**place % 2
        if matrix.sum() <= 9 and not superfluous(matrix):
            for ops in product("012", repeat=vertices - 2):
                yield f"{''.join(map(str, matrix.ravel()))}-{''.join(ops)}"


class TestPoints:
    def test_size(self):
        assert SPACE.size == SPACE.count(SPACE.whole) == 1_293_208

    @pytest.mark.parametrize("vertices", [2, 3, 4])
    def test_the_cells_that_the_authors_enumerate(self, vertices):
        """All of few vertices, and no other, in the order of edges and operations."""
        expected = [SPACE.parse(text) for text in all_cells(vertices)]
        first = SPACE.index(expected[0])
        assert [SPACE.index(arch) for arch in expected] == [*range(first, first + len(expected))]
        following = SPACE.at(first + len(expected))
        assert isqrt(len(SPACE.spell(following).split("-")[0])) == vertices + 1

    def test_a_part_of_the_space(self):
        arch = SPACE.parse("0101001000010000-02")
        parts = list(arch.open)
        for place, edge in enumerate(EDGES):
            if set(edge) <= {0, 1, 2, 6}:
                parts[place] = (0, 1)
        parts[21], parts[22] = (1, 3), (0, 2)
        part = type(arch)(arch.space, tuple(parts))
        expected = [genes for genes in product(*part.open) if SPACE.flaw(genes) is None]
        found = list(SPACE.subspace(part))
        assert sorted(arch.genes for arch in found) == sorted(expected)
        assert SPACE.count(part) == len(expected) > 4
        assert [SPACE.index(arch) for arch in found] == sorted(map(SPACE.index, found))

    @pytest.mark.parametrize(
        ("edges", "ops", "message"),
        [
            ([(0, 1), (1, 6)], (CONV3, None, CONV3), "vertex 2 has operation none, but a later"),
            ([(0, 1), (1, 2), (1, 6)], (CONV3,), "vertex 2 has an edge, but operation none"),
            ([(0, 1), (2, 6)], (CONV3, CONV1), "of vertices 0 to 3 .* first to last: 0, 1, 2, 3"),
            ([(0, 1), (1, 2), (0, 6)], (CONV3, CONV1), "no path from first to last: 1, 2"),
            (EDGES, (CONV3,) * 5, "21 edges; expected at most 9"),
        ],
    )
    def test_refuses_what_is_no_cell(self, edges, ops, message):
        with pytest.raises(ZeroshotError, match=message) as error:
            cell(edges, *ops, *(None,) * (5 - len(ops)))
        assert "\n" not in str(error.value)

    def test_neighbours(self):
        """Of input - 3×3 convolution - output, by hand."""
        around = {SPACE.spell(arch) for arch in SPACE.neighbours(SPACE.parse("010001000-0"))}
        expected = {"010001000-1", "010001000-2", "011001000-0"}  # an operation, an edge
        for op in "012":  # a vertex behind the other, beside it, before it
            expected |= {f"0100001100010000-0{op}", f"0110001000010000-{op}0"}
            expected |= {f"0110000100010000-0{op}", f"0110000100010000-{op}0"}
        assert around == expected

    def test_neighbours_lead_everywhere(self):
        few = {SPACE.parse(text) for vertices in (2, 3, 4) for text in all_cells(vertices)}
        reached, edge = set(), {SPACE.parse("0100-")}
        while edge:
            reached |= edge
            edge = {other for arch in edge for other in SPACE.neighbours(arch)} & few - reached
        assert reached == few

    @pytest.mark.parametrize(
        ("shape", "message"),
        [
            ({"channels": 3}, "channels 3: nasbench101 needs at least 4"),
            ({"stacks": 0}, "stacks 0: nasbench101 needs at least 1"),
            ({"modules": 0}, "modules 0: nasbench101 needs at least 1"),
        ],
    )
    def test_refuses_shapes(self, shape, message):
        with pytest.raises(ZeroshotError, match=message):
            NasBench101(**shape)


class TestNotation:
    @golden
    def test_matrix_and_operations(self, matrix, ops, module_hash, params):
        arch = SPACE.parse(f"{matrix}-{ops}")
        assert SPACE.spell(arch) == f"{matrix}-{ops}"
        for text in (f"{matrix},{ops}", f"{matrix} {ops}", f"{matrix}, {ops}"):
            assert SPACE.parse(text) == arch

    def test_notation_of_naslib(self):
        """Matrix, then operations: input, max pooling, 1x1 and 3x3 convolution, output."""
        matrix = "0111000010000100000100000"
        text = str((*map(int, matrix), 0, 2, 3, 4, 1))
        assert SPACE.spell(SPACE.parse(text)) == f"{matrix}-210"
        for wrong in (text.replace("4, 1)", "4, 4)"), text.replace(", 1)", ")")):
            with pytest.raises(ZeroshotError, match="expected an adjacency matrix"):
                SPACE.parse(wrong)

    def test_vertices(self):
        arch = SPACE.parse("010001000-1")
        assert arch == cell([(0, 1), (1, 6)], CONV1, None, None, None, None)
        assert SPACE.names(arch)[-5:] == ((CONV1,), *(("none",),) * 4)

    def test_what_lies_on_no_path_is_left_out(self):
        assert SPACE.spell(SPACE.parse("0001000000000000-01")) == "0100-"
        # 21 edges but 9: of the others all but one are between vertices that nothing leads to.
        matrix = np.triu(np.ones((7, 7), dtype=int), 1)
        matrix[0, 1:6] = 0
        assert SPACE.parse(f"{''.join(map(str, matrix.ravel()))}-01201") == SPACE.parse("0100-")

    def test_the_benchmarks_pruning(self):
        random = np.random.default_rng(0)
        seen = set()
        for _ in range(150):
            n = int(random.integers(2, 8))
            matrix = np.triu(random.random((n, n)) < random.uniform(0.2, 0.7), 1).astype(int)
            ops = "".join(map(str, random.integers(0, 3, n - 2)))
            gone = superfluous(matrix)
            kept = np.delete(np.delete(matrix, gone, 0), gone, 1)
            text = f"{''.join(map(str, matrix.ravel()))}-{ops}"
            if 0 in gone or kept.sum() > 9:
                message = "expected a path" if 0 in gone else "edges; expected at most 9"
                with pytest.raises(ZeroshotError, match=message):
                    SPACE.parse(text)
            else:
                message = None
                left = "".join(op for v, op in enumerate(ops, start=1) if v not in gone)
                pruned = f"{''.join(map(str, kept.ravel()))}-{left}"
                assert SPACE.spell(SPACE.parse(text)) == pruned
            seen.add(message)
        assert len(seen) == 3

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("0100", None),  # an index
            ("010001000-", "1 operations for 3 vertices"),
            ("010001000-3", "each 0 (conv3x3-bn-relu), 1 (conv1x1-bn-relu) or 2 (maxpool3x3)"),
            ("010001000-00", "found '00'"),
            ("01000100-0", "n × n digits for the n = 2 to 7 vertices of the matrix, found 8"),
            ("0-", "found 1"),
            ("0" * 64 + "-000000", "found 64"),
            ("010101000-0", "edges to later vertices only, found one from 1 to 0"),
            ("110001000-0", "edges to later vertices only, found one from 0 to 0"),
            ("010201000-0", "an adjacency matrix of 0 and 1"),
            ("010001000+0", "as in '010001000-0'"),
            ("000001000-0", "a path from vertex 0, the input, to 2, the output"),
        ],
    )
    def test_a_malformed_string_says_what_was_expected(self, text, expected):
        if expected is None:
            assert SPACE.index(SPACE.parse(text)) == 100
            return
        with pytest.raises(ZeroshotError) as error:
            SPACE.parse(text)
        assert expected in str(error.value)
        assert "\n" not in str(error.value)


class TestHash:
    @golden
    def test_of_the_benchmark(self, matrix, ops, module_hash, params):
        assert SPACE.module_hash(SPACE.parse(f"{matrix}-{ops}")) == module_hash

    def test_is_the_same_for_all_orders_of_vertices(self):
        matrix, ops, module_hash, _ = GOLDEN[-1]
        square = np.array(list(matrix), dtype=int).reshape(7, 7)
        tried = 0
        for order in permutations(range(1, 6)):
            old = [0, *order, 6]
            moved = square[np.ix_(old, old)]
            if not np.tril(moved).any():
                text = f"{''.join(map(str, moved.ravel()))}-{''.join(ops[v - 1] for v in order)}"
                assert SPACE.module_hash(SPACE.parse(text)) == module_hash
                tried += 1
        assert tried == 4

    @pytest.mark.parametrize(("vertices", "classes"), [(2, 1), (3, 6), (4, 84)])
    def test_tells_the_same_cells_apart_as_canonical(self, vertices, classes):
        """All cells of up to 4 vertices. Of all 1,293,208 `canonical` leaves 423,624, as published.

        That takes five minutes; it was counted once.
        """
        by_hash, by_form = defaultdict(set), defaultdict(set)
        for text in all_cells(vertices):
            arch = SPACE.parse(text)
            module_hash, form = SPACE.module_hash(arch), SPACE.canonical(arch)
            by_hash[module_hash].add(form)
            by_form[form].add(module_hash)
        assert all(len(forms) == 1 for forms in by_hash.values())
        assert all(len(hashes) == 1 for hashes in by_form.values())
        assert len(by_form) == classes

    def test_is_that_of_the_canonical_cell(self):
        archs = SPACE.sample(60, np.random.default_rng(4))
        forms = [SPACE.canonical(arch) for arch in archs]
        hashes = [SPACE.module_hash(arch) for arch in archs]
        assert hashes == [SPACE.module_hash(form) for form in forms]
        assert len(set(hashes)) == len(set(forms)) > 55


class TestCost:
    @golden
    def test_parameters_of_the_benchmark(self, matrix, ops, module_hash, params):
        assert SPACE.cost(SPACE.parse(f"{matrix}-{ops}")).params == params

    def test_is_that_of_the_canonical_cell(self):
        # The two vertices before the output share 5 channels: a 3×3 convolution has 3 of them.
        shape = NasBench101(channels=5)
        first = shape.parse("0110000100010000-01")
        other = shape.parse("0110000100010000-10")
        assert shape.canonical(other) == first
        assert shape.cost(other) == shape.cost(first)
        built = [
            sum(p.numel() for p in shape.build(a, Task()).parameters()) for a in (first, other)
        ]
        assert built[0] == shape.cost(first).params > built[1]

    def test_counted_at_an_odd_size(self):
        task = Task(channels=1, size=7, classes=7)
        for arch in SPACE.sample(3, np.random.default_rng(1)):
            assert TINY.cost(arch, task) == super(NasBench101, TINY).cost(
                TINY.canonical(arch), task
            )


class TestCanonical:
    def test_is_the_first_that_the_benchmark_enumerates(self):
        """By number of vertices, then edges with 0→1 as the lowest bit, then operations."""
        by_hash = defaultdict(list)
        for text in all_cells(4):
            matrix, ops = text.split("-")
            n = isqrt(len(matrix))
            pairs = [(i, j) for j in range(1, n) for i in range(j)]
            bits = sum(int(matrix[i * n + j]) << place for place, (i, j) in enumerate(pairs))
            by_hash[SPACE.module_hash(SPACE.parse(text))].append((bits, ops, text))
        for members in by_hash.values():
            first = SPACE.parse(min(members)[-1])
            assert {SPACE.canonical(SPACE.parse(text)) for *_, text in members} == {first}

    def test_members_compute_the_same(self):
        """Weights depend on the place in the kernel alone, so that channels may change places."""
        images = networks.batch(n=4, c=2, h=8, w=8)[0]

        def logits(arch):
            module = TINY.build(arch, TASK).double()
            with torch.no_grad():
                for p in module.parameters():
                    if p.ndim == 4:
                        area = p.shape[2] * p.shape[3]
                        kernel = torch.from_numpy(networks.wave(area, area))
                        p.copy_(kernel.view(p.shape[2:]).expand_as(p))
                module.head[-1].weight.fill_(0.1)
                module.head[-1].bias.zero_()
            return module(images).detach()

        random = np.random.default_rng(2)
        compared = 0
        for arch in SPACE.sample(25, random):
            canonical = SPACE.canonical(arch)
            if canonical != arch:
                assert torch.allclose(logits(arch), logits(canonical), rtol=1e-9, atol=1e-9)
                compared += 1
        assert compared > 15


class TestNetwork:
    def test_skeleton(self):
        module = SPACE.network(SPACE.parse(INCEPTION)).module
        names = [f"body.{place}" for place in (0, 1, 2, 4, 5, 6, 8, 9, 10)]
        assert SPACE.blocks(module) == ("stem", *names)
        assert sum(p.numel() for p in module.parameters()) == 2_694_282  # the benchmark's README
        assert all(not m.inplace for m in module.modules() if isinstance(m, nn.ReLU))
        assert module.head[-1].in_features == 512

    def test_channels_are_shared(self):
        """128 channels for 3 vertices before the output; the widest of them for those before."""
        edges = [(0, 1), (1, 2), (1, 3), (1, 4), (2, 6), (3, 6), (4, 6), (0, 6)]
        arch = cell(edges, CONV3, CONV1, CONV3, CONV3, None)
        module = SPACE.build(arch, Task()).body[0]
        widths = [part[0].out_channels for part in module.operations]
        assert widths == [43, 43, 43, 42]
        projected = {name: part[0].out_channels for name, part in module.projections.items()}
        assert projected == {"1": 43, "5": 128}

    def test_computes_what_the_paper_says(self):
        """Slow and obvious: vertex by vertex, in the order of the matrix."""
        shape = NasBench101(channels=7, stacks=1, modules=1)
        random = np.random.default_rng(3)
        inputs = torch.rand(4, 7, 5, 5, dtype=torch.float64)

        def conv_bn_relu(part, x):
            weight = part[0].weight
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
            return F.batch_norm(x, None, None, training=True).relu()

        texts = ["0100-", INCEPTION, "0110000100010000-20"]
        archs = [*map(shape.parse, texts), *shape.sample(20, random)]
        for arch in map(shape.canonical, archs):
            module = shape.build(arch, TASK).double().body[0]
            matrix, ops = shape.spell(arch).split("-")
            n = isqrt(len(matrix))
            square = np.array(list(matrix), dtype=int).reshape(n, n)
            values = [inputs]
            for vertex in range(1, n - 1):
                before = [values[i] for i in range(1, vertex) if square[i, vertex]]
                width = module.widths[vertex]
                total = sum(value[:, :width] for value in before)
                if square[0, vertex]:
                    total = total + conv_bn_relu(module.projections[str(vertex)], inputs)
                if ops[vertex - 1] == "2":
                    values.append(F.max_pool2d(total, 3, stride=1, padding=1))
                else:
                    values.append(conv_bn_relu(module.operations[vertex - 1], total))
            last = [values[i] for i in range(1, n - 1) if square[i, n - 1]]
            expected = torch.cat(last, dim=1) if last else 0
            if square[0, n - 1]:
                expected = expected + conv_bn_relu(module.projections[str(n - 1)], inputs)
            assert torch.allclose(module(inputs), expected, rtol=1e-9, atol=1e-9)

    def test_odd_sizes_are_rounded_up(self):
        net = TINY.network(SPACE.parse("010001000-0"), Task(channels=2, size=5, classes=3))
        assert net.module.body[:3](net.module.stem(torch.rand(2, 2, 5, 5))).shape == (2, 12, 3, 3)
