import copyreg
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from tests.eval.benchmarks.hostile import Making, write
from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks.pickles import names_asked, read_pickle

NAMES = ("data.pickle", "data.pickle.pbz2", "data.pth", "old.pth")
PLAIN = {"a": [1, 2.5, None, True], ("x", 7): {"é", b"b"}, "o": OrderedDict(p=(1,))}


def written(folder, name, content):
    return write(folder / name, content, legacy=name == "old.pth")


@pytest.mark.parametrize("name", NAMES)
class TestFiles:
    def test_plain_data(self, tmp_path, name):
        assert read_pickle(written(tmp_path, name, PLAIN)) == PLAIN

    def test_numbers_of_numpy(self, tmp_path, name):
        content = {"x": np.float64(1.5), "y": [np.int32(-3)], "z": np.float32([[1, 2], [3, 4]])}
        found = read_pickle(written(tmp_path, name, content))
        assert found == {"x": 1.5, "y": [-3], "z": [[1.0, 2.0], [3.0, 4.0]]}
        assert type(found["x"]) is float

    def test_nothing_is_run(self, tmp_path, name):
        made = tmp_path / "made"
        path = written(tmp_path, name, {"a": 1.0, "b": [Making(made)]})
        with pytest.raises(
            ZeroshotError, match=r"asks to run \w+\.mkdir, .*nothing was run.*trust"
        ):
            read_pickle(path)
        assert not made.exists()
        assert read_pickle(path, trust=True) == {"a": 1.0, "b": [None]}
        assert made.is_dir()  # so it would have been run

    def test_truncated(self, tmp_path, name):
        path = written(tmp_path, name, {"a": list(range(300))})
        content = path.read_bytes()
        for keep in (0, 1, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:keep])
            with pytest.raises(ZeroshotError, match=f"{name} is truncated or no pickle"):
                read_pickle(path)

    def test_no_file(self, tmp_path, name):
        with pytest.raises(ZeroshotError, match=f"there is no file .*{name}"):
            read_pickle(tmp_path / name)


class TestNames:
    def test_all_are_told_though_it_fails(self, tmp_path):
        # What subprocess.Popen answers is called, filled and indexed, then the pickle breaks off.
        code = b"csubprocess\nPopen\n(S'x'\ntR(S'y'\ntR]aI1\nI2\nscos\nsystem\n(S'exit'\ntR"
        path = tmp_path / "x.pickle"
        path.write_bytes(code)
        assert names_asked(path) == ("subprocess.Popen", "os.system")
        with pytest.raises(ZeroshotError, match=r"asks to run subprocess\.Popen, os\.system, "):
            read_pickle(path)

    @pytest.mark.parametrize(
        "name", ["builtins eval", "numpy save", "numpy.core.multiarray fromfile", "os path.join"]
    )
    def test_only_what_is_listed(self, tmp_path, name):
        module, attribute = name.split()
        path = tmp_path / "x.pickle"
        parts = (b"\x8c%c%s" % (len(part), part.encode()) for part in (module, attribute))
        path.write_bytes(b"\x80\x04" + b"".join(parts) + b"\x93.")
        with pytest.raises(ZeroshotError, match=f"asks to run {module}.{attribute},"):
            read_pickle(path)

    def test_registered_extensions(self, tmp_path, monkeypatch):
        copyreg.add_extension("os", "getcwd", 241)
        try:
            path = tmp_path / "x.pickle"
            path.write_bytes(b"\x80\x02\x82\xf1)R.")
            assert names_asked(path) == ("os.getcwd",)
        finally:
            copyreg.remove_extension("os", "getcwd", 241)

    def test_a_format_may_know_more(self, tmp_path):
        path = write(tmp_path / "x.pickle", complex(1, 2))
        with pytest.raises(ZeroshotError, match=r"builtins\.complex"):
            read_pickle(path)
        known = {("builtins", "complex"): lambda *parts: parts}
        assert read_pickle(path, known=known) == (1.0, 2.0)


class Forged:
    """A number of a type that is none."""

    def __init__(self, dtype):
        self.dtype = dtype

    def __reduce__(self):
        return np.float64(1).__reduce__()[0], (self.dtype, b"A" * 8)


class TestArrays:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    @pytest.mark.parametrize(
        "array",
        [
            np.arange(6, dtype=">i2").reshape(2, 3),
            np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            np.array([True, False]),
            np.array(["a", "bcd"]),
            np.array([{"k": 1}, None], dtype=object),
            np.zeros((0, 3)),
            np.float32([0.1, np.inf]),
        ],
        ids=lambda array: str(array.dtype),
    )
    def test_lists_of_the_same(self, tmp_path, array, protocol):
        path = tmp_path / "x.pickle"
        path.write_bytes(pickle.dumps({"v": array}, protocol=protocol))
        assert read_pickle(path) == {"v": array.tolist()}

    def test_bytes_are_never_pointers(self, tmp_path):
        # NumPy itself would take these eight bytes for the address of an object.
        path = tmp_path / "x.pickle"
        for kind in ([("a", "O")], "O", "M8[s]", "V8"):
            path.write_bytes(pickle.dumps(Forged(np.dtype(kind)), protocol=4))
            with pytest.raises(ZeroshotError, match="truncated or no pickle"):
                read_pickle(path)

    def test_a_shape_that_does_not_fit(self, tmp_path):
        path = tmp_path / "x.pickle"
        content = pickle.dumps(np.arange(4.0), protocol=2)
        path.write_bytes(content.replace(b"K\x04\x85", b"K\x05\x85"))
        with pytest.raises(ZeroshotError, match="truncated or no pickle"):
            read_pickle(path)


class TestDamage:
    def test_any_changed_byte(self, tmp_path):
        """It is refused, or read as other plain data; nothing else happens."""
        path = tmp_path / "x.pickle"
        content = pickle.dumps({**PLAIN, "n": np.float64(2), "v": np.arange(3.0)}, protocol=4)
        rng = np.random.default_rng(0)
        said = []
        for _ in range(200):
            changed = bytearray(content)
            changed[rng.integers(len(content))] = rng.integers(256)
            path.write_bytes(changed)
            try:
                read_pickle(path)
            except ZeroshotError as error:
                said.append(str(error))
        assert len(said) > 50
        assert not any("\n" in words for words in said)

    def test_tensors(self, tmp_path):
        path = written(tmp_path, "data.pth", {"w": torch.zeros(2)})
        with pytest.raises(ZeroshotError, match=r"asks to run torch\._utils\._rebuild_tensor_v2"):
            read_pickle(path)
        with pytest.raises(ZeroshotError, match="it holds tensors"):
            read_pickle(path, trust=True)

    def test_other_archives(self, tmp_path):
        path = tmp_path / "data.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
        with pytest.raises(ZeroshotError, match=r"not an archive of torch\.save"):
            read_pickle(path)
        path.write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(ZeroshotError, match=r"not written by torch\.save"):
            read_pickle(path)

    def test_a_damaged_archive(self, tmp_path):
        path = written(tmp_path, "data.pth", {"text": "x" * 200})
        content = path.read_bytes()
        path.write_bytes(content.replace(b"x" * 20, b"y" * 20, 1))
        with pytest.raises(ZeroshotError, match=r"data\.pth is truncated or no pickle .*CRC"):
            read_pickle(path)
