import base64
import gzip
import json
import struct
from itertools import count, takewhile

import numpy as np
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import load_benchmark, load_truth
from zeroshot.eval.benchmarks.nasbench101 import (
    OPS,
    _fields,
    _spellings,
    crc32c,
)
from zeroshot.spaces.nasbench101 import NasBench101

SPACE = NasBench101()
# Rows of the benchmark: hash, matrix, operations, validation accuracy after 4, 12, 36, 108 epochs.
ROWS = (
    (
        "04f0edf4c8c5fde3f38a232c8a948551",
        "0100000001000100010000000111000001000000010000000",
        "20211",
        (0.1655649, 0.565004, 0.8604768, 0.9033453),
    ),
    (
        "0677c2b1f660eb0511402391b1e9fbf2",
        "0101000001000000001100000001000001100000010000000",
        "02011",
        (0.3733974, 0.6514423, 0.8920273, 0.9284856),
    ),
)


# -- a writer of such files ------------------------------------------------------------------------


def slow_crc32c(text):
    """By definition, a bit at a time."""
    crc = 0xFFFFFFFF
    for byte in text:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(text):
    crc = slow_crc32c(text)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(payload):
    size = struct.pack("<Q", len(payload))
    return size + masked(size) + payload + masked(payload)


def field(number, value):
    """Of a Protocol Buffers message: a double, bytes or a small whole number."""
    if isinstance(value, float):
        return bytes([number << 3 | 1]) + struct.pack("<d", value)
    if isinstance(value, bytes):
        assert len(value) < 16_384
        return bytes([number << 3 | 2, len(value) & 127 | 128, len(value) >> 7]) + value
    return bytes([number << 3, value & 127 | 128, value >> 7])


def evaluation(epoch, seconds, validation, test):
    parts = (epoch, seconds, 0.99, validation, test)
    doubles = b"".join(field(number, value) for number, value in enumerate(parts, start=1))
    return field(1, doubles + field(6, b"/a/checkpoint"))


def payload(row, epochs=108, shift=0.0, **changes):
    """A record: at half time half of the accuracy, on test images 0.01 less."""
    module_hash, matrix, ops, accuracies = row
    end = accuracies[(4, 12, 36, 108).index(epochs)] + shift
    metrics = (
        evaluation(0.0, 0.0, 0.1, 0.1)
        + evaluation(epochs / 2, 5.0 * epochs, end / 2, end / 2 - 0.01)
        + evaluation(float(epochs), 10.0 * epochs + 1000 * shift, end, end - 0.01)
        + field(2, 1234)
        + field(3, 1e4)
    )
    parts = {
        "module_hash": module_hash,
        "epochs": epochs,
        "matrix": matrix,
        "ops": ",".join(("input", *(OPS[int(op)] for op in ops), "output")),
        "metrics": base64.b64encode(metrics).decode(),
        **changes,
    }
    return json.dumps(list(parts.values())).encode()


def write(folder, *payloads):
    path = folder / "nasbench_only108.tfrecord"
    path.write_bytes(b"".join(map(framed, payloads)))
    return path


# -- pieces ----------------------------------------------------------------------------------------


class TestChecksum:
    def test_published_values(self):
        """RFC 3720, B.4, and the check value of the catalogue of CRCs."""
        texts = [b"123456789", bytes(32), b"\xff" * 32, bytes(range(32)), b""]
        assert [hex(crc) for crc in crc32c(texts)] == [
            "0xe3069283",
            "0x8a9136aa",
            "0x62a8ab43",
            "0x46dd794e",
            "0x0",
        ]

    def test_by_definition(self):
        rng = np.random.default_rng(0)
        texts = [rng.bytes(size) for size in rng.integers(0, 60, size=80)]
        assert crc32c(texts).tolist() == [slow_crc32c(text) for text in texts]
        assert crc32c([]).tolist() == []


class TestMessage:
    def test_published_values(self):
        """Of the documentation of the encoding of Protocol Buffers."""
        assert list(_fields(bytes.fromhex("089601"))) == [(1, 150)]
        assert list(_fields(bytes.fromhex("120774657374696e67"))) == [(2, b"testing")]
        assert list(_fields(bytes.fromhex("3d0000c03f"))) == [(7, 1.5)]
        assert list(_fields(b"")) == []

    @pytest.mark.parametrize(
        "code", ["08", "0896", "1207746573", "09000000", "0b", "08" + "ff" * 11]
    )
    def test_damage(self, code):
        with pytest.raises(ValueError, match=r"truncated|wire type"):
            list(_fields(bytes.fromhex(code)))


class TestSpellings:
    def test_are_the_points_with_one_hash(self):
        """In classes of the benchmark's own hash: all cells of 4 vertices, some of 5."""
        points = map(SPACE.at, count())
        spelled = takewhile(lambda text: len(text) <= 25 + 1 + 3, map(SPACE.spell, points))
        small = [text for text in spelled if len(text) < 20 or text.endswith("-000")]
        classes: dict[str, set[str]] = {}
        for text in small:
            classes.setdefault(SPACE.module_hash(SPACE.parse(text)), set()).add(text)
        assert len(classes) > 100
        for members in classes.values():
            for member in members:
                assert _spellings(*member.split("-")) == members

    def test_of_large_cells(self):
        for index in np.random.default_rng(0).integers(SPACE.size, size=12):
            arch = SPACE.at(int(index))
            found = _spellings(*SPACE.spell(arch).split("-"))
            parsed = [SPACE.parse(text) for text in found]
            assert SPACE.spell(arch) in found
            assert {SPACE.spell(other) for other in parsed} == found
            assert {SPACE.module_hash(other) for other in parsed} == {SPACE.module_hash(arch)}

    @pytest.mark.parametrize(
        ("matrix", "ops"),
        [
            ("010001000", ""),
            ("010001000", "3"),
            ("01000100", "0"),
            ("012001000", "0"),
            ("010101000", "0"),  # an edge backwards
            ("001000000", "0"),  # vertex 1 on no path
            ("0", ""),
        ],
    )
    def test_no_cell(self, matrix, ops):
        with pytest.raises(ValueError, match=r"operations|matrix|path"):
            _spellings(matrix, ops)


# -- files -----------------------------------------------------------------------------------------


class TestRecords:
    def test_means_over_repeats(self, tmp_path):
        shifts = (0.0, 0.003, -0.006)
        path = write(tmp_path, *(payload(row, shift=shift) for row in ROWS for shift in shifts))
        table = load_benchmark("nb101", path)
        assert list(table.columns) == ["accuracy", "seconds", "epoch_54", "epoch_108"]
        for _, matrix, ops, (*_, last) in ROWS:
            row = table.loc[f"{matrix}-{ops}"]
            assert row["accuracy"] == row["epoch_108"] == pytest.approx(100 * (last - 0.001))
            assert row["epoch_54"] == pytest.approx(50 * (last - 0.001))
            assert row["seconds"] == pytest.approx(1079)
        test = load_truth("nb101/cifar10", path=path)
        assert test.to_numpy() == pytest.approx(table["accuracy"].to_numpy() - 1)

    def test_all_budgets(self, tmp_path):
        path = write(tmp_path, *(payload(ROWS[0], epochs) for epochs in (4, 12, 36, 108)))
        table = load_benchmark("nb101", path)
        assert list(table.columns[2:]) == [f"epoch_{n}" for n in (2, 4, 6, 12, 18, 36, 54, 108)]
        assert load_truth("nb101", "epoch_12", path).iloc[0] == pytest.approx(56.5004)

    def test_every_order_of_the_vertices(self, tmp_path):
        truth = load_truth("nb101", path=write(tmp_path, *map(payload, ROWS)))
        for module_hash, *_, (*_, last) in ROWS:
            same = [
                arch for arch in truth.index if SPACE.module_hash(SPACE.parse(arch)) == module_hash
            ]
            assert same
            assert truth[same].to_numpy() == pytest.approx(100 * last)
        assert len(truth) > len(ROWS)

    def test_not_trained_so_long(self, tmp_path):
        truth = load_truth("nb101", path=write(tmp_path, payload(ROWS[0]), payload(ROWS[1], 36)))
        assert truth[f"{ROWS[0][1]}-{ROWS[0][2]}"] > 90
        assert np.isnan(truth[f"{ROWS[1][1]}-{ROWS[1][2]}"])


class TestDamage:
    def test_any_changed_byte(self, tmp_path):
        """Two records of some 500 bytes: the checksums find a change anywhere."""
        path = write(tmp_path, *map(payload, ROWS))
        content = path.read_bytes()
        rng = np.random.default_rng(0)
        for place in (*range(12), *rng.integers(len(content), size=60)):
            changed = bytearray(content)
            changed[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(changed)
            with pytest.raises(
                ZeroshotError, match=r"tfrecord, record [12]: .*(damaged|truncated)"
            ):
                load_truth("nb101", path=path)

    def test_truncated(self, tmp_path):
        path = write(tmp_path, *map(payload, ROWS))
        content = path.read_bytes()
        whole = len(framed(payload(ROWS[0])))
        for keep in (1, 7, 11, 12, 100, whole - 1, whole + 1, whole + 12, len(content) - 1):
            path.write_bytes(content[:keep])
            number = 1 if keep < whole else 2
            with pytest.raises(ZeroshotError, match=f"record {number}: ends in the middle"):
                load_truth("nb101", path=path)
        path.write_bytes(b"")
        with pytest.raises(ZeroshotError, match=r"tfrecord is empty"):
            load_truth("nb101", path=path)

    def test_another_kind_of_file(self, tmp_path):
        path = tmp_path / "x.tfrecord"
        path.write_bytes(b"PK\x03\x04 is how an archive starts, which this is not")
        with pytest.raises(ZeroshotError, match=r"x\.tfrecord, record 1: .* no TFRecord of NAS-B"):
            load_truth("nb101", path=path)

    @pytest.mark.parametrize(
        "wrong",
        [
            b"",
            b"[1, 2]",
            b"\xff\xfe",
            payload(ROWS[0], metrics="CJYB"),
            payload(ROWS[0], metrics="no base 64"),
            payload(ROWS[0], matrix="0101"),
            payload(ROWS[0], ops="input,conv5x5,output"),
            payload(ROWS[0]).replace(b" 108,", b' "many",'),
            payload(ROWS[0], shift=7.0),
            payload(ROWS[0], shift=float("-inf")),
        ],
    )
    def test_records_of_something_else(self, tmp_path, wrong):
        path = write(tmp_path, payload(ROWS[1]), wrong)
        with pytest.raises(
            ZeroshotError, match=r"tfrecord, record 2: no training of NAS-Bench-101"
        ):
            load_truth("nb101", path=path)

    def test_two_cells_for_a_hash(self, tmp_path):
        other = (ROWS[0][0], *ROWS[1][1:])
        with pytest.raises(ZeroshotError, match=f"record 2: .*{ROWS[0][0]} is another cell"):
            load_truth("nb101", path=write(tmp_path, payload(ROWS[0]), payload(other)))

    def test_two_hashes_for_a_cell(self, tmp_path):
        other = ("0" * 32, *ROWS[0][1:])
        with pytest.raises(
            ZeroshotError, match=f"rows of {ROWS[0][1][:5]}.* disagree on 'accuracy'"
        ):
            load_truth("nb101", path=write(tmp_path, payload(ROWS[0]), payload(other, shift=-0.1)))


class TestCsv:
    HEADER = "hash,n,matrix,ops,params,train_time_s,val4,val108"

    def write(self, folder, *rows, header=HEADER):
        path = folder / "nb101.csv.gz"
        path.write_bytes(gzip.compress("".join(f"{line}\n" for line in (header, *rows)).encode()))
        return path

    def row(self, number=0, val108=None):
        module_hash, matrix, ops, (val4, *_, last) = ROWS[number]
        return f"{module_hash},7,{matrix},{ops},1,926.34,{val4},{val108 or last}"

    def test_table(self, tmp_path):
        path = self.write(tmp_path, self.row(0), self.row(1))
        table = load_benchmark("nb101", path)
        records = load_benchmark("nb101", write(tmp_path, *map(payload, ROWS)))
        assert list(table.columns) == ["accuracy", "seconds", "epoch_4", "epoch_108"]
        assert list(table.index) == list(records.index)
        assert table["accuracy"].to_numpy() == pytest.approx(records["accuracy"].to_numpy())
        assert table["seconds"].unique().tolist() == [926.34]
        assert load_truth("nb101", "epoch_4", path).iloc[0] == pytest.approx(16.55649)

    def test_no_test_accuracy(self, tmp_path):
        with pytest.raises(ZeroshotError, match=r"no column 'test108' for cifar10, only hash, n"):
            load_truth("nb101/cifar10", path=self.write(tmp_path, self.row()))
        with pytest.raises(ZeroshotError, match=r"no column 'matrix' for cifar10-valid, only a, b"):
            load_truth("nb101", path=self.write(tmp_path, "1,2", header="a,b"))

    def test_rows_that_disagree(self, tmp_path):
        same = self.write(tmp_path, self.row(), self.row())
        assert load_truth("nb101", path=same).index.is_unique
        with pytest.raises(
            ZeroshotError, match=r"rows of .* disagree on 'accuracy' \(90.*and 80\)"
        ):
            load_truth("nb101", path=self.write(tmp_path, self.row(), self.row(val108="0.8")))

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("h,3,010001000,9,1,2,0.1,0.9", "row 1: operations '9'"),
            ("h,3,01000100,0,1,2,0.1,0.9", "row 1: operations '0' for a matrix of 8"),
            ("h,3,010001000,0,1,2,0.1,93.4", "row 1: an accuracy of 93.4, expected a fraction"),
            ("h,3,010001000,0,1,2,0.1,good", "row 1: could not convert"),
            ("h,3,010001000,0,1", "line 2: 5 fields, expected 8"),
        ],
    )
    def test_damage(self, tmp_path, row, message):
        with pytest.raises(ZeroshotError, match=message):
            load_truth("nb101", path=self.write(tmp_path, row))

    def test_an_unknown_accuracy(self, tmp_path):
        path = self.write(tmp_path, "h,3,010001000,0,1,,0.1,")
        row = load_benchmark("nb101", path).loc["010001000-0"]
        assert row.isna().tolist() == [True, True, False, True]
