import pickle
import sys
import types

import pytest

from tests.eval.benchmarks.hostile import Making
from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import load_benchmark, load_truth
from zeroshot.spaces import Darts

SPACE = Darts()
ARCHS = [SPACE.spell(SPACE.at(index)) for index in (0, 123_456_789)]


@pytest.fixture
def folder(tmp_path):
    for name in ("xgb_v0.9", "xgb_v1.0", "lgb_runtime_v1.0"):
        member = tmp_path / "models" / name / "0"
        member.mkdir(parents=True)
        (member / "surrogate_model.model").write_bytes(pickle.dumps(Making(tmp_path / "made")))
    return tmp_path / "models"


@pytest.fixture
def package(monkeypatch):
    """Counts convolutions; the runtime is a tenth of that."""

    class Surrogate:
        def __init__(self, path):
            self.scale = 0.1 if "runtime" in path else 1.0

        def predict(self, config, representation, with_noise):
            assert (representation, with_noise) == ("genotype", False)
            assert [len(cell) for cell in config] == [8, 4, 8, 4]
            assert config._fields == ("normal", "normal_concat", "reduce", "reduce_concat")
            assert all(isinstance(node, int) for _, node in config.normal + config.reduce)
            return self.scale * sum("conv" in op for op, _ in config.normal + config.reduce)

    asked = []

    def load_ensemble(path):
        asked.append(path)
        return Surrogate(path)

    module = types.SimpleNamespace(load_ensemble=load_ensemble, asked=asked)
    monkeypatch.setitem(sys.modules, "nasbench301", module)
    return module


def test_predictions(folder, package):
    table = load_benchmark("nb301", folder, trust=True, archs=[*ARCHS, ARCHS[0]])
    assert table["accuracy"].to_dict() == {arch: arch.count("conv") for arch in ARCHS}
    assert table["seconds"].to_numpy() == pytest.approx(0.1 * table["accuracy"].to_numpy())
    assert package.asked == [str(folder / name) for name in ("xgb_v1.0", "lgb_runtime_v1.0")]


def test_without_runtimes(folder, package):
    (folder / "lgb_runtime_v1.0").rename(folder / "other")
    assert list(load_benchmark("nb301", folder, trust=True, archs=ARCHS).columns) == ["accuracy"]


def test_nothing_is_run_without_trust(folder, package):
    with pytest.raises(ZeroshotError, match=r"nasbench301 runs; they ask for \w+\.mkdir.*--trust"):
        load_truth("nb301", path=folder, archs=ARCHS)
    assert not package.asked
    assert not (folder.parent / "made").exists()


def test_no_package(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "nasbench301", None)
    with pytest.raises(ZeroshotError, match="pip install nasbench301"):
        load_truth("nb301", path=folder, trust=True, archs=ARCHS)


def test_no_models(tmp_path):
    with pytest.raises(ZeroshotError, match="'nb301' needs its files: no path was given"):
        load_truth("nb301")
    with pytest.raises(ZeroshotError, match=r"has no folder xgb_v\*"):
        load_truth("nb301", path=tmp_path)


@pytest.mark.parametrize("arch", ["64:64:64:64:64", "exit()", "f(normal=[], reduce=[])", "(" * 999])
def test_no_genotype(folder, package, arch):
    with pytest.raises(ZeroshotError, match="is no genotype of DARTS"):
        load_truth("nb301", path=folder, trust=True, archs=[arch])


def test_no_architectures(folder, package):
    with pytest.raises(ZeroshotError, match="lists none; name the architectures"):
        load_truth("nb301", path=folder, trust=True)


def test_what_the_package_raises(folder, package):
    def load_ensemble(path):
        raise OSError("no such model")

    package.load_ensemble = load_ensemble
    with pytest.raises(ZeroshotError, match=r"nasbench301 cannot read .*xgb_v1\.0: no such model"):
        load_truth("nb301", path=folder, trust=True, archs=ARCHS)
