import numpy as np
import pandas as pd
import pytest

from zeroshot import commands
from zeroshot.errors import ZeroshotError
from zeroshot.eval.truth import Truth
from zeroshot.models import find_space

SPACE = find_space("transnasbench101_micro")


def respell(text):
    return SPACE.spell(SPACE.parse(text))


ARCHS = ["64-41414-1_02_333", "64-41414-1_30_321", "64-41414-3_30_000", "64-41414-3_33_111"]


@pytest.fixture
def table(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_other_words_of_the_space(table):
    """The benchmark's string, NASLib's tuple and our genes are one architecture."""
    path = table("t.csv", f'arch,acc\n{ARCHS[0]},1\n"(1, 3, 0, 3, 2, 1)",2\n3.3.0.0.0.0,3\n')
    found = Truth((path,)).read(ARCHS[:3], respell)
    assert found.to_dict() == dict(zip(ARCHS, (1, 2, 3), strict=False))


def test_a_row_of_no_architecture_is_named(table):
    path = table("t.csv", f"arch,acc\n{ARCHS[0]},1\nfoo,2\n")
    for archs, how in ((ARCHS, None), (ARCHS[:1], respell)):  # of no known space; or not needed
        assert list(Truth((path,)).read(archs, how).index) == [ARCHS[0], "foo"]
    with pytest.raises(ZeroshotError, match=r"t.csv: 'foo' is no .*; drop its row"):
        Truth((path,)).read(ARCHS, respell)


def test_a_number_may_count_rows(table):
    """It is not taken for an index of the space."""
    path = table("t.csv", "arch,acc\n0,1\n1,2\n")
    assert list(Truth((path,)).read(ARCHS, respell).index) == ["0", "1"]


def test_two_words_of_one_architecture_disagree(table):
    path = table("t.csv", f'arch,acc\n{ARCHS[1]},1\n"(1, 3, 0, 3, 2, 1)",2\n')
    with pytest.raises(ZeroshotError, match=r"rows of 64-41414-1_30_321 disagree .*\(1 and 2\)"):
        Truth((path,)).read(ARCHS, respell)


def test_several_sources(table):
    one = table("one.csv", "arch,acc\na,1\nb,2\nc,\n")
    two = table("two.csv", "arch,acc\nb,2\nc,3\nd,\n")
    found = Truth((one, two)).read()
    assert found.dropna().to_dict() == {"a": 1, "b": 2, "c": 3}
    assert np.isnan(found["d"])


def test_several_sources_disagree(table):
    one, two = table("one.csv", "arch,acc\na,1\nb,2\n"), table("two.csv", "arch,acc\nb,3\n")
    with pytest.raises(ZeroshotError, match=r"one.csv and .*two.csv: rows of b disagree on 'acc'"):
        Truth((one, two)).read()


def test_no_source():
    with pytest.raises(ZeroshotError, match="no truth"):
        Truth(()).read()


@pytest.mark.parametrize("wanted", [{"arch": "{x}"}, {"better": "lower"}])
def test_a_benchmark_tells_itself(wanted):
    with pytest.raises(ZeroshotError, match="is for tables; torchvision tells"):
        Truth(("torchvision",), **wanted).read()


def test_validate_and_prune(table, tmp_path):
    """Losses, other words and two files, from the commands."""
    ranking = commands.rank("transnasbench101_micro", archs=ARCHS, proxies="params")
    rows = [("(1, 0, 2, 3, 3, 3)", 4.0), ("(1, 3, 0, 3, 2, 1)", 3.0), ("(3, 3, 0, 0, 0, 0)", 2.0)]
    files = [
        table(f"{number}.csv", f'cell,loss,x\n"{text}",{loss},0\n')
        for number, (text, loss) in enumerate(rows)
    ]
    asked = {"column": "loss", "arch": "{cell}", "lower_is_better": True}
    found = commands.validate(ranking, files, resamples=100, **asked).table
    params = ranking.scores.set_index("arch")["params"]
    expected = pd.Series([-4.0, -3.0, -2.0], index=ARCHS[:3])
    assert found["n"].tolist() == [3] * len(found)
    by_name = found.set_index("name")
    assert by_name.loc["params", "kendall"] == pytest.approx(
        params.loc[ARCHS[:3]].corr(expected, method="kendall")
    )
    space = find_space("transnasbench101_micro", small=True)
    own = commands.prune(space, criterion="params", truth=files, workers=1, **asked)
    assert {"accuracy", "rank", "of"} <= set(own.record)


def test_sources_in_two_units(table):
    """All of one would be below all of the other."""
    one = table("one.csv", "arch,acc\na,81\nb,92\n")
    two = table("two.csv", "arch,acc\nc,0.8\nd,0.93\n")
    with pytest.raises(ZeroshotError, match=r"two.csv holds values up to 0.93, .*one.csv up to 92"):
        Truth((one, two)).read()
    with pytest.raises(ZeroshotError, match="in one unit"):
        Truth((one, two), better="lower").read()
    none = table("none.csv", "arch,acc\nc,0\nd,\n")
    assert len(Truth((one, none)).read()) == 4


def test_what_is_negated(table):
    path = table("t.csv", "arch,acc\na,81\n")
    assert Truth((path,), better="lower").negated
    assert Truth(("hw-nas-bench",)).negated
    assert Truth(("nb201",), column="seconds").negated
    assert not Truth((path,)).negated
    assert not Truth(("torchvision", path)).negated
    with pytest.raises(ZeroshotError, match=r"less is better in hw-nas-bench, more in .*t.csv"):
        _ = Truth(("hw-nas-bench", path)).negated
