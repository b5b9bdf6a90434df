"""NAS-Bench-101, from the TFRecords of its authors, without TensorFlow, or from a CSV."""

import base64
import csv
import io
import json
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, permutations
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks.benchmark import Query, needed, tabulate
from zeroshot.eval.tables import read_table, read_text

DATASETS = ("cifar10-valid", "cifar10")
FILE = "nasbench_only108.tfrecord or nasbench_full.tfrecord, or of a CSV of them"
OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
_SPLITS = {"cifar10-valid": "val", "cifar10": "test"}  # as columns of a CSV begin


def load_nb101(query: Query) -> pd.DataFrame:
    """CIFAR-10 accuracies in percent: on validation images (cifar10-valid), or test (cifar10).

    From the authors' TFRecords: `accuracy` and `seconds` are those of the longest training, of 108
    epochs, the mean over its repeats. `epoch_4`, `epoch_12`, `epoch_36` and `epoch_108` are
    trainings of so many epochs each, the others (`epoch_54`) these half-way: unlike other curves
    they do not belong to one schedule. The checksum of every record is verified.

    From a CSV: columns `matrix`, 0 and 1 row by row, and `ops`, a digit per interior vertex, as in
    `zeroshot.spaces.nasbench101`; `val108` or `test108`, and the like of other epochs, as
    fractions; perhaps `train_time_s`.

    The benchmark has one cell of each class of isomorphic ones. An architecture of the space is any
    order of a cell's vertices: each has its row, about three for a cell.

    Raises:
        ZeroshotError: naming the file and record or row, if it is truncated, damaged, or has two
            cells for one hash.
    """
    path = needed(query, "nb101", FILE)
    read = _read_csv if ".csv" in path.suffixes else _read_records
    rows = (
        (arch, row)
        for matrix, ops, row in read(path, query.dataset)
        for arch in sorted(_spellings(matrix, ops))
    )
    return tabulate(rows, path)


# -- cells -----------------------------------------------------------------------------------------


def _spellings(matrix: str, ops: str) -> set[str]:
    """All orders of a cell's vertices, as `NasBench101.spell` writes them; ValueError if none."""
    if len(ops) != isqrt(len(matrix)) - 2 or set(ops) - set("012"):
        raise ValueError(f"operations {ops!r} for a matrix of {len(matrix)} digits")
    return {f"{other}-{''.join(ops[i - 1] for i in order)}" for other, order in _orders(matrix)}


@lru_cache(maxsize=8192)
def _orders(matrix: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """A graph in all orders that keep edges forward: its matrix, and which vertex is where."""
    n = isqrt(len(matrix))
    if n * n != len(matrix) or not 2 <= n <= 7 or set(matrix) - set("01"):
        raise ValueError(f"{matrix!r} is no matrix of 2 to 7 vertices")
    edges = [divmod(place, n) for place, digit in enumerate(matrix) if digit == "1"]
    ends = {i for i, _ in edges} == set(range(n - 1)), {j for _, j in edges} == set(range(1, n))
    if any(i >= j for i, j in edges) or not all(ends):
        raise ValueError(f"{matrix!r} has an edge backwards or a vertex on no path")
    found = []
    for order in permutations(range(1, n - 1)):
        place = {vertex: new for new, vertex in enumerate((0, *order, n - 1))}
        moved = {(place[i], place[j]) for i, j in edges}
        if all(i < j for i, j in moved):
            digits = (str(int((i, j) in moved)) for i in range(n) for j in range(n))
            found.append(("".join(digits), order))
    return tuple(found)


# -- CSV -------------------------------------------------------------------------------------------


def _read_csv(path: Path, dataset: str) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    split = _SPLITS[dataset]
    columns = list(read_table(path).columns)  # checks that it is whole
    epochs = sorted(
        int(column.removeprefix(split))
        for column in columns
        if column.startswith(split) and column.removeprefix(split).isdecimal()
    )
    lacking = {"matrix", "ops"} - set(columns)
    if lacking or not epochs:
        raise ZeroshotError(
            f"{path} has no column {min(lacking) if lacking else f'{split}108'!r} for {dataset}, "
            f"only {', '.join(columns)}"
        )
    # Once more, as text: a matrix is no number.
    for number, fields in enumerate(csv.DictReader(io.StringIO(read_text(path))), start=1):
        try:
            _spellings(fields["matrix"], fields["ops"])
            curve = {f"epoch_{n}": _percent(float(fields[f"{split}{n}"] or "nan")) for n in epochs}
            row = {"accuracy": curve[f"epoch_{epochs[-1]}"]}
            if "train_time_s" in columns:
                row["seconds"] = float(fields["train_time_s"] or "nan")
        except ValueError as error:
            raise ZeroshotError(f"{path}, row {number}: {error}; correct it") from error
        yield fields["matrix"], fields["ops"], row | curve


def _percent(fraction: float) -> float:
    if not (np.isnan(fraction) or 0 <= fraction <= 1):
        raise ValueError(f"an accuracy of {fraction:g}, expected a fraction from 0 to 1")
    return 100 * fraction


# -- TFRecords -------------------------------------------------------------------------------------


class _Training(NamedTuple):
    """One record: a cell, trained once."""

    module_hash: str
    matrix: str
    ops: str
    epochs: int
    half: Mapping[int, float]  # what was measured, by the numbers of the fields
    end: Mapping[int, float]


# Fields of the message EvaluationData; see nasbench/lib/model_metrics.proto.
_SECONDS, _VALIDATION, _TEST = 2, 4, 5
_SCORED = {"cifar10-valid": _VALIDATION, "cifar10": _TEST}


def _read_records(path: Path, dataset: str) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    scored = _SCORED[dataset]
    cells: dict[str, tuple[str, str]] = {}
    sums: dict[str, dict[str, float]] = {}
    counts: dict[str, dict[str, int]] = {}
    longest = 0
    for number, payload in enumerate(_payloads(path), start=1):
        try:
            one = _training(payload)
            measured = {
                f"epoch_{one.epochs // 2}": _percent(one.half[scored]),
                f"epoch_{one.epochs}": _percent(one.end[scored]),
                f"seconds_{one.epochs}": one.end[_SECONDS],
            }
            cell = one.matrix, one.ops
            if cells.setdefault(one.module_hash, cell) != cell:
                raise ValueError(f"{one.module_hash} is another cell than before")
            _spellings(*cell)
        except Exception as error:  # what is in a record can be anything
            raise ZeroshotError(
                f"{path}, record {number}: no training of NAS-Bench-101 "
                f"({type(error).__name__}: {error}); get the file again"
            ) from error
        longest = max(longest, one.epochs)
        total = sums.setdefault(one.module_hash, defaultdict(float))
        count = counts.setdefault(one.module_hash, defaultdict(int))
        for name, value in measured.items():
            total[name] += value
            count[name] += 1
    for module_hash, (matrix, ops) in cells.items():
        count = counts[module_hash]
        means = {name: total / count[name] for name, total in sums[module_hash].items()}
        row = {
            "accuracy": means.get(f"epoch_{longest}", np.nan),
            "seconds": means.get(f"seconds_{longest}", np.nan),
        }
        epochs = sorted(int(name[6:]) for name in means if name.startswith("epoch_"))
        yield matrix, ops, row | {f"epoch_{n}": means[f"epoch_{n}"] for n in epochs}


def _training(payload: bytes) -> _Training:
    """A record: a JSON list, the last element a message ModelMetrics in base 64."""
    module_hash, epochs, matrix, names, metrics = json.loads(payload)
    evaluations = [
        {number: value for number, value in _fields(content) if isinstance(value, float)}
        for number, content in _fields(base64.b64decode(metrics, validate=True))
        if number == 1 and isinstance(content, bytes)
    ]
    _, half, end = evaluations  # the first is that before training
    ops = "".join(str(OPS.index(name)) for name in names.split(",")[1:-1])
    return _Training(module_hash, matrix, ops, epochs, half, end)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a Protocol Buffers message: number, and int, float or bytes by its wire type.

    Raises:
        ValueError: if it is truncated, or has a field of another type.
    """
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            if place >= len(message) or shift > 63:
                raise ValueError("a truncated message")
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def take(size: int) -> bytes:
        nonlocal place
        place += size
        if place > len(message):
            raise ValueError("a truncated message")
        return message[place - size : place]

    while place < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        elif kind == 1:
            yield number, struct.unpack("<d", take(8))[0]
        elif kind == 2:
            yield number, take(varint())
        elif kind == 5:
            yield number, struct.unpack("<f", take(4))[0]
        else:
            raise ValueError(f"a field of wire type {kind}")


_LONGEST = 1 << 16  # bytes of a record; they have some hundreds
_BATCH = 4096  # records whose checksums are computed together


def _payloads(path: Path) -> Iterator[bytes]:
    """The contents of a TFRecord file: a length, its checksum, the bytes, theirs, again and again.

    Raises:
        ZeroshotError: naming the file and the record, if it ends early or a checksum is wrong.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ZeroshotError(f"cannot read {path}: {error.strerror or error}") from error
    with stream:
        frames = _frames(path, stream)
        done = 0
        while batch := list(islice(frames, _BATCH)):
            texts = [text for frame in batch for text in (frame[:8], frame[12:-4])]
            stored = [crc for frame in batch for crc in (frame[8:12], frame[-4:])]
            wrong = np.flatnonzero(_masked(crc32c(texts)) != np.frombuffer(b"".join(stored), "<u4"))
            if len(wrong):
                raise ZeroshotError(
                    f"{path}, record {done + wrong[0] // 2 + 1}: the checksum is wrong; the file "
                    "is damaged, get it again"
                )
            done += len(batch)
            yield from (frame[12:-4] for frame in batch)
    if not done:
        raise ZeroshotError(f"{path} is empty; get it again")


def _frames(path: Path, stream: Any) -> Iterator[bytes]:
    number = 0
    while head := stream.read(12):
        number += 1
        size = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else 0
        if size > _LONGEST:
            raise ZeroshotError(
                f"{path}, record {number}: {size:,} bytes long; it is damaged, or no TFRecord of "
                "NAS-Bench-101"
            )
        rest = stream.read(size + 4)
        if len(head) + len(rest) != size + 16:
            raise ZeroshotError(
                f"{path}, record {number}: ends in the middle; the file is truncated, get it again"
            )
        yield head + rest


def _masked(crc: np.ndarray) -> np.ndarray:
    """Checksums as TFRecords store them."""
    return ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)


def _crc_table() -> np.ndarray:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(0x82F63B78), crc >> 1)
    return crc


_CRC = _crc_table()


def crc32c(texts: Sequence[bytes]) -> np.ndarray:
    """The CRC-32C (Castagnoli) of each of some texts, all at once, a byte of each at a time."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    longest = int(lengths.max(initial=0))
    # Written so that they end together, the longest first: those that began are the first ones.
    padded = np.zeros((len(texts), longest), np.uint8)
    for row, which in enumerate(order):
        padded[row, longest - lengths[which] :] = np.frombuffer(texts[which], np.uint8)
    columns = np.ascontiguousarray(padded.T)
    begun = np.searchsorted(-lengths[order], -np.arange(longest, 0, -1), side="right")
    crc = np.full(len(texts), 0xFFFFFFFF, np.uint32)
    for column, count in zip(columns, begun, strict=True):
        crc[:count] = _CRC[(crc[:count] ^ column[:count]) & 0xFF] ^ (crc[:count] >> 8)
    found = np.empty_like(crc)
    found[order] = ~crc
    return found
