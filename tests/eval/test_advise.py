import math

import numpy as np
import pandas as pd
import pytest

from zeroshot.errors import ZeroshotError
from zeroshot.eval.advise import FINDINGS, advise

NAN, INF = math.nan, math.inf
BETTER = {"twin": "lower"}
RECORD = {
    "passes": {
        "good": ["Forward()", "Codes()"],
        "twin": ["Forward()"],
        "noise": ["Forward()"],
        "mute": ["Forward()"],
    },
    "seconds per pass": {"Forward()": 8.0, "Codes()": 2.0},
    "networks scored": 4,
    "not a number": {"mute": {"rare": 1, "no ReLU": 5}, "good": {}},
}


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    own = rng.normal(size=40)
    size = rng.integers(1, 10**6, size=40)
    parts = []
    for seed in range(3):
        part = pd.DataFrame({"arch": [f"net{i}" for i in range(40)], "seed": seed})
        part["good"] = own + 0.1 * rng.normal(size=40)
        part["twin"] = -own + 0.01 * rng.normal(size=40)
        part["noise"] = rng.normal(size=40)
        part["large"] = size**3.0
        part["params"] = size
        part["flat"] = 1.0
        part["coarse"] = np.round(rng.normal(size=40))
        part["mute"] = np.where(np.arange(40) < 8, NAN, rng.permutation(40))
        part["extreme"] = np.where(own > 1, INF, own)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def found(scores, **options):
    return advise(scores, better=BETTER, record=RECORD, **options).set_index("name")


def test_columns_and_rows(scores):
    table = advise(scores, better=BETTER, record=RECORD)
    assert list(table["name"]) == list(scores.columns[2:])
    assert list(table.columns) == [
        *("name", "kind", "n", "undefined", "reason", "ties", "seeds", "seed_agreement"),
        *("spearman_params", "spearman_flops", "cluster", "seconds", "findings", "keep"),
    ]
    assert (table["kind"] == "baseline").tolist() == (table["name"] == "params").tolist()


def test_findings(scores):
    findings = found(scores)["findings"]
    assert findings["good"] == findings["twin"] == findings["params"] == ""
    assert findings["noise"] == "unstable"
    assert findings["large"] == "size"
    assert findings["flat"] == "constant"
    assert findings["coarse"] == "tied, unstable"
    assert findings["mute"] == "undefined, unstable"
    for words in findings:
        assert all(word in FINDINGS for word in words.split(", ") if word)


def test_figures(scores):
    table = found(scores)
    assert table.loc["mute", "undefined"] == 0.2
    assert table.loc["mute", "n"] == 32
    assert table.loc["mute", "reason"] == "no ReLU"
    assert table.loc["good", "reason"] == table.loc["noise", "reason"] == ""
    assert table.loc["good", "seconds"] == 2.5
    assert math.isnan(table.loc["large", "seconds"])
    assert table.loc["large", "spearman_params"] == pytest.approx(1)
    assert table["spearman_flops"].isna().all()
    assert table.loc["flat", "ties"] == 1


def test_of_each_cluster_a_typical_cheap_one_is_kept(scores):
    table = found(scores)
    assert table.loc["twin", "cluster"] == table.loc["good", "cluster"]
    assert table.loc["large", "cluster"] == table.loc["params", "cluster"]
    assert table.loc["twin", "keep"]
    assert not table.loc["good", "keep"]
    assert not table.loc["params", "keep"]
    equal = advise(scores, better=BETTER).set_index("name")  # nobody knows the costs
    assert equal.loc["twin", "keep"]
    assert not equal.loc[["good", "extreme"], "keep"].any()
    dear = {**RECORD, "seconds per pass": {"Forward()": 2.0, "Codes()": 2.1}}
    swapped = {**RECORD["passes"], "good": ["Forward()"], "twin": ["Forward()", "Codes()"]}
    table = advise(scores, better=BETTER, record={**dear, "passes": swapped}).set_index("name")
    assert table.loc["good", "keep"]  # it is less typical, but costs less than half
    assert not table.loc["twin", "keep"]


def test_members_of_ensembles_are_preferred_and_controls_never_kept(scores):
    twins = scores.rename(columns={"twin": "synflow_bn", "good": "synflow", "extreme": "other"})
    table = advise(twins, better={"synflow_bn": "lower"}).set_index("name")
    assert table.loc["synflow_bn", "cluster"] == table.loc["synflow", "cluster"]
    assert table.loc["synflow_bn", "findings"] == "control"
    assert table.loc[["synflow", "synflow_bn", "other"], "keep"].tolist() == [True, False, False]
    alone = advise(twins.drop(columns=["synflow", "other"])).set_index("name")
    assert not alone.loc["synflow_bn", "keep"]


def test_a_proxy_like_a_baseline_is_not_kept(scores):
    order = scores.groupby("seed")["good"].rank()
    table = found(scores.assign(depth=order))
    assert table.loc["depth", "cluster"] == table.loc["twin", "cluster"]
    assert not table.loc[["good", "twin"], "keep"].any()


def test_one_seed_tells_nothing_of_stability(scores):
    table = found(scores[scores["seed"] == 0])
    assert table["seed_agreement"].isna().all()
    assert not table["findings"].str.contains("unstable").any()
    assert table.loc["noise", "keep"]


def test_one_proxy_and_three_architectures(scores):
    few = scores[scores["arch"].isin(["net8", "net9", "net10"])]
    (row,) = found(few[["arch", "seed", "good"]]).to_dict("records")
    assert (row["cluster"], row["n"]) == (1, 3)


def test_a_column_of_nan(scores):
    row = found(scores.assign(none=NAN)).loc["none"]
    assert (row["n"], row["undefined"], row["findings"]) == (0, 1, "undefined")
    assert not row["keep"]


def test_refusals(scores):
    with pytest.raises(ZeroshotError, match="scores of 2 architectures; at least 3"):
        advise(scores[scores["arch"].isin(["net8", "net9"])])
    with pytest.raises(ZeroshotError, match="no proxy column"):
        advise(scores[["arch", "seed"]])
    with pytest.raises(ZeroshotError, match="'good' of the scores is not numeric"):
        advise(scores.assign(good="x"))
    with pytest.raises(ZeroshotError, match="run record does not tell"):
        advise(scores, record=RECORD | {"passes": 3})
