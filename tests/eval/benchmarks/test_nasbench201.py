import pickle
import sys
import types
from importlib.util import find_spec

import pytest

from tests.eval.benchmarks.hostile import Making
from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import load_truth

CELL = "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2|"


class TestNb201:
    def test_encoding(self, tmp_path, monkeypatch):
        record = type("Architecture", (), {"__module__": "analognasbench.data"})
        stand_in = types.ModuleType("analognasbench.data")
        stand_in.Architecture = record
        thing = record()
        thing.baseline_accuracy = 88.5
        path = tmp_path / "data.anb"
        with monkeypatch.context() as patch:  # pickle wants to find what it writes
            patch.setitem(sys.modules, "analognasbench", types.ModuleType("analognasbench"))
            patch.setitem(sys.modules, "analognasbench.data", stand_in)
            path.write_bytes(pickle.dumps({(4, 0, 3, 1, 4, 3): thing}))
        assert load_truth("nb201", path=path).to_dict() == {CELL: 88.5}

    def test_nothing_is_run(self, tmp_path):
        made = tmp_path / "made"
        path = tmp_path / "data.anb"
        path.write_bytes(pickle.dumps({(4, 0, 3, 1, 4, 3): Making(made)}))
        with pytest.raises(ZeroshotError, match=r"data\.anb asks to run \w+\.mkdir"):
            load_truth("nb201", path=path)
        assert not made.exists()

    @pytest.mark.parametrize("table", [{(9,) * 6: 1}, {(0,): 1}, {(0,) * 6: 1}, 7])
    def test_anything_else_is_refused(self, tmp_path, table):
        path = tmp_path / "data.anb"
        path.write_bytes(pickle.dumps(table))
        with pytest.raises(ZeroshotError, match=r"data\.anb is not the data of analog-nasbench"):
            load_truth("nb201", path=path)

    def test_a_truncated_file(self, tmp_path):
        path = tmp_path / "data.anb"
        path.write_bytes(pickle.dumps({"a": [1.0] * 99})[:-40])
        with pytest.raises(ZeroshotError, match=r"data\.anb is truncated or no pickle"):
            load_truth("nb201", path=path)

    def test_not_installed(self, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ZeroshotError, match=r"pip install 'zeroshot-nas\[nb201\]'"):
            load_truth("nb201")

    @pytest.mark.skipif(find_spec("analognasbench") is None, reason="the extra nb201 is missing")
    def test_the_package(self):
        truth = load_truth("nb201")
        assert len(truth) == len(set(truth.index)) == 15_625
        assert truth.notna().all()
        assert "analognasbench" not in sys.modules
        best = truth.idxmax()
        assert best == (
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
            "+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
        )
        assert truth.max() == pytest.approx(94.0664)
        assert truth["|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"] == pytest.approx(
            10, abs=0.5
        )
