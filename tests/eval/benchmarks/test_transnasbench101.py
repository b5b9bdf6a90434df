import pytest

from tests.eval.benchmarks.hostile import Making, write
from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import load_benchmark, load_truth
from zeroshot.eval.benchmarks.transnasbench101 import MEASURES
from zeroshot.spaces import transnasbench101 as spaces

CELLS = ("64-41414-1_02_333", "64-41414-0_00_000")
STACKS = ("64-1234-basic",)


def result(task, shift):
    measure = MEASURES[task]
    return {
        "model_info": {"inference_time": 0.01, "encoder_params": 7},
        "metrics": {
            f"train_{measure}": [1.0, 2.0, 3.0],
            f"valid_{measure}": [10.0 + shift, 30.0 + shift, 20.0 + shift],
            f"test_{measure}": [11.0, 31.0, 21.0 + shift],
            "valid_loss": [3.0, 2.0, 1.0],
            "time_elapsed": ["00:10:00", "00:20:05", "01:30:10"],
        },
        "total_epochs": 3,
    }


def database(**changes):
    archs = {"macro": STACKS, "micro": CELLS}
    data = {
        space: {
            arch: {task: result(task, shift) for task in MEASURES}
            for shift, arch in enumerate(names)
        }
        for space, names in archs.items()
    }
    return {
        "metrics_dict": {task: [f"valid_{measure}"] for task, measure in MEASURES.items()},
        "info_names": ["inference_time", "encoder_params"],
        "task_list": list(MEASURES),
        "data": data,
        **changes,
    }


@pytest.fixture(params=["zip", "legacy"])
def file(tmp_path, request):
    """Both ways in which torch wrote files."""
    return write(tmp_path / "transnas.pth", database(), legacy=request.param == "legacy")


class TestTable:
    def test_columns(self, file):
        row = load_benchmark("tnb101-micro", file).loc[CELLS[1]]
        assert row.to_dict() == {
            "accuracy": 21.0,
            "best": 31.0,
            "test": 22.0,
            "seconds": 5410.0,
            "epoch_1": 11.0,
            "epoch_2": 31.0,
            "epoch_3": 21.0,
        }

    @pytest.mark.parametrize("task", MEASURES)
    def test_every_task_and_space(self, file, task):
        assert load_truth(f"tnb101-micro/{task}", path=file).to_dict() == {
            CELLS[0]: 20.0,
            CELLS[1]: 21.0,
        }
        assert load_truth(f"tnb101-macro/{task}", "best", file).to_dict() == {STACKS[0]: 30.0}

    def test_architectures_are_those_of_the_spaces(self, file):
        for name, space in (
            ("tnb101-micro", spaces.TransNasBench101Micro()),
            ("tnb101-macro", spaces.TransNasBench101Macro()),
        ):
            for arch in load_truth(name, path=file).index:
                assert space.spell(space.parse(arch)) == arch

    def test_what_need_not_be_recorded(self, tmp_path):
        content = database()
        metrics = content["data"]["micro"][CELLS[0]]["class_scene"]["metrics"]
        del metrics["test_top1"], metrics["time_elapsed"]
        content["data"]["micro"][CELLS[1]]["class_scene"]["metrics"]["time_elapsed"] = [1, 7.5]
        table = load_benchmark("tnb101-micro", write(tmp_path / "t.pth", content))
        assert table["test"].isna().tolist() == [True, False]
        assert table["seconds"].isna().tolist() == [True, False]
        assert table["seconds"].iloc[1] == 7.5


class TestRefused:
    @pytest.mark.parametrize("legacy", [False, True])
    def test_nothing_is_run(self, tmp_path, legacy):
        made = tmp_path / "made"
        path = write(tmp_path / "t.pth", database(note=Making(made)), legacy)
        with pytest.raises(ZeroshotError, match=r"t\.pth asks to run \w+\.mkdir"):
            load_truth("tnb101-micro", path=path)
        assert not made.exists()
        assert len(load_truth("tnb101-micro", path=path, trust=True)) == 2
        assert made.exists()

    @pytest.mark.parametrize("content", [7, {}, {"data": {"macro": {}}}, {"data": {"micro": 7}}])
    def test_files_of_something_else(self, tmp_path, content):
        path = write(tmp_path / "t.pth", content)
        with pytest.raises(ZeroshotError, match=r"t\.pth is not TransNAS-Bench-101's, with the sp"):
            load_truth("tnb101-micro", path=path)

    @pytest.mark.parametrize(
        "results",
        [
            7,
            {"class_scene": {}},
            {"class_scene": {"metrics": {"valid_top1": []}}},
            {"class_scene": {"metrics": {"valid_top1": ["x"]}}},
            {"class_scene": {"metrics": {"valid_top1": [1.0], "time_elapsed": ["soon"]}}},
        ],
    )
    def test_results_of_another_shape(self, tmp_path, results):
        path = write(tmp_path / "t.pth", {"data": {"micro": {CELLS[0]: results}}})
        with pytest.raises(ZeroshotError, match=f"t.pth: cannot read class_scene of {CELLS[0]}"):
            load_truth("tnb101-micro", path=path)

    def test_a_task_that_is_not_there(self, tmp_path):
        path = write(tmp_path / "t.pth", {"data": {"micro": {CELLS[0]: {"jigsaw": {}}}}})
        with pytest.raises(ZeroshotError, match="has no results of class_scene, only of jigsaw"):
            load_truth("tnb101-micro", path=path)
        with pytest.raises(ZeroshotError, match=r"no data set 'scene' .*'class_scene'"):
            load_truth("tnb101-micro/scene", path=path)

    def test_no_architectures(self, tmp_path):
        path = write(tmp_path / "t.pth", {"data": {"micro": {}}})
        with pytest.raises(ZeroshotError, match="holds no architectures"):
            load_truth("tnb101-micro", path=path)

    def test_truncated(self, file):
        file.write_bytes(file.read_bytes()[:-30])
        with pytest.raises(ZeroshotError, match=r"transnas\.pth is truncated or no pickle"):
            load_truth("tnb101-micro", path=file)
