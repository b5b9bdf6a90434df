import json

import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.eval.benchmarks import load_truth
from zeroshot.eval.truth import Truth
from zeroshot.models import find_space
from zeroshot.spaces import Darts

CELL = "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2|"


class TestNbsz:
    @pytest.fixture
    def file(self, tmp_path):
        entry = {"val_accuracy": 85.0, "id": 7, "snip": {"score": 1.0, "time": 0.1}}
        other = {"val_accuracy": 40.0}
        path = tmp_path / "zc_nasbench201.json"
        key = "(4, 0, 3, 1, 4, 3)"
        path.write_text(json.dumps({"cifar10": {key: entry}, "cifar100": {key: other}}))
        return path

    def test_by_file_and_by_name(self, file):
        assert load_truth(f"{file}:cifar100").to_dict() == {CELL: 40.0}
        assert load_truth("nbsz/cifar10", path=file).to_dict() == {CELL: 85.0}

    def test_other_spaces_keep_their_notation(self, file):
        other = file.with_name("zc_transbench101_micro.json")
        other.write_bytes(file.read_bytes())
        assert list(load_truth(f"{other}:cifar10").index) == ["(4, 0, 3, 1, 4, 3)"]

    @pytest.mark.parametrize("name", ["nasbench101", "darts", "transnasbench101_micro"])
    def test_the_spaces_read_these(self, name, tmp_path):
        space = find_space(name)
        archs = [space.spell(space.at(index)) for index in (100, 2000)]
        keys = {
            "nasbench101": "(0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 3, 1)",
            "darts": str(Darts().compact(Darts().at(2000))),
            "transnasbench101_micro": "(1, 3, 3, 1, 0, 0)",
        }
        own = space.spell(space.parse(keys[name]))
        path = tmp_path / "zc_other.json"
        path.write_text(json.dumps({"x": {keys[name]: {"val_accuracy": 85.0}}}))
        assert Truth((str(path),)).read(
            [*archs, own], lambda text: space.spell(space.parse(text))
        ).to_dict() == {own: 85.0}

    def test_data_sets(self, file):
        with pytest.raises(ZeroshotError, match=r"has several; name one, .*json:cifar10"):
            load_truth(str(file))
        with pytest.raises(ZeroshotError, match=r"no data set 'svhn'.*; it has cifar10, cifar100"):
            load_truth(f"{file}:svhn")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"cifar10": {"(4, 0', "is truncated or no JSON"),
            ("[]", "is no file of NAS-Bench-Suite-Zero"),
            ('{"cifar10": {"(4, 0)": {"val_accuracy": 1}}}', r"architecture '\(4, 0\)'"),
            ('{"cifar10": {"(0, 0, 0, 0, 0, 0)": {}}}', "a val_accuracy"),
            (
                '{"cifar10": {"(0, 0, 0, 0, 0, 0)": {"val_accuracy": 1e999}}}',
                "val_accuracy of .* is infinite; leave the entry out",
            ),
            ('{"cifar10": {"(0, 0, 0, 0, 0, -1)": {"val_accuracy": 1}}}', "cannot read"),
            ('{"cifar10": {"exit()": {"val_accuracy": 1}}}', r"'exit\(\)'"),
        ],
    )
    def test_damage(self, file, text, message):
        file.write_text(text)
        with pytest.raises(ZeroshotError, match=r"zc_nasbench201\.json.*" + message):
            load_truth(str(file))

    def test_entries_that_disagree(self, file):
        entry = '"(4, 0, 3, 1, 4, 3)": {"val_accuracy": '
        file.write_text('{"cifar10": {' + entry + "85}, " + entry + "86}}}")
        with pytest.raises(ZeroshotError, match=r"has two entries '\(4, 0, 3, 1, 4, 3\)'"):
            load_truth(str(file))

    def test_no_file(self, tmp_path):
        with pytest.raises(ZeroshotError, match=r"there is no file .*zc_none\.json"):
            load_truth("nbsz/cifar10", path=tmp_path / "zc_none.json")
