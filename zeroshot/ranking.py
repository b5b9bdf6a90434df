"""Scores to an order: ranks of one proxy, and ensembles that combine the ranks of several.

A scores table has the columns `arch` and `seed` and one column of raw values per proxy. Directions
come apart from it (`better`), and are applied here, once: whatever leaves this module is "higher is
better".
"""

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from zeroshot.errors import ZeroshotError, brief, in_a_line

Array = NDArray[np.float64]

KEYS = ("arch", "seed")  # the columns of a scores table that are not proxies


def ranks(values: ArrayLike, better: str = "higher") -> Array:
    """The rank of each value: the worst has 1, the best n.

    Ties share the mean of their ranks. Infinities are values like others. A NaN says nothing about
    an architecture, so NaNs come below every value, tied with each other. A constant column gives
    everyone (n + 1) / 2.

    Args:
        values: n numbers.
        better: "higher" or "lower", the direction of the values.

    Returns:
        n ranks in [1, n], whose sum is n(n + 1)/2.

    >>> ranks([3.0, 7.0, float("nan"), 3.0]).tolist()
    [2.5, 4.0, 1.0, 2.5]
    """
    if better not in ("higher", "lower"):
        raise ZeroshotError(f"direction {better!r}: expected 'higher' or 'lower'")
    numbers = np.asarray(values, dtype=np.float64)
    missing = np.isnan(numbers)
    number = int(missing.sum())
    result = np.full(numbers.shape, (number + 1) / 2)
    known = numbers[~missing]
    # Not by SciPy's function, which takes a second to load.
    found = pd.Series(known if better == "higher" else -known).rank()
    result[~missing] = found.to_numpy() + number
    return result


# -- rules of combination: ranks (archs × members, 1 is the worst) to one number per architecture --


def rank_sum(ranks: Array) -> Array:
    """Σ rank, in [members, members · n]; higher is better.

    Source: TE-NAS (arXiv:2102.11535) adds the ranks of κ and of the number of linear regions.
    """
    return ranks.sum(axis=1)


def log_rank_sum(ranks: Array) -> Array:
    """Σ log(rank / n), at most 0; higher is better. One bad rank weighs more than one good rank.

    Source: AZ-NAS (arXiv:2403.19232).
    """
    return np.log(ranks / len(ranks)).sum(axis=1)


def majority_vote(ranks: Array) -> Array:
    """The Copeland score: pairwise comparisons won plus half of those drawn, in [0, n − 1].

    One architecture beats another if more members rank it above than below; a member that ties the
    two abstains. Higher is better. Takes n² · members steps, and memory for a block of rows only.

    Source: zero-cost NAS (arXiv:2101.08134), section 4, where synflow, jacob_cov and snip vote on
    pairs inside a search; the count over all pairs turns that into an order.
    """
    n, members = ranks.shape
    halves = np.rint(2 * ranks).astype(np.int32)  # mid-ranks are multiples of a half
    score = np.empty(n)
    block = max(1, 4_000_000 // max(n, 1))
    for start in range(0, n, block):
        rows = halves[start : start + block]
        votes = np.zeros((len(rows), n), dtype=np.int8)
        for member in range(members):
            mine, theirs = rows[:, member, None], halves[None, :, member]
            votes += mine > theirs
            votes -= (mine < theirs).view(np.int8)
        won = np.count_nonzero(votes > 0, axis=1)
        drawn = np.count_nonzero(votes == 0, axis=1) - 1  # without the comparison with itself
        score[start : start + block] = won + drawn / 2
    return score


@dataclass(frozen=True)
class Ensemble:
    """Several proxies that rank together.

    Attributes:
        name: the word in tables and for `--by`.
        members: columns of the scores table.
        combine: a rule: ranks of shape (archs, members), 1 the worst, to one number per
            architecture, higher is better.
        source: where the rule, or the ensemble, is from.
    """

    name: str
    members: tuple[str, ...]
    combine: Callable[[Array], Array]
    source: str

    def __post_init__(self) -> None:
        members = self.members if isinstance(self.members, tuple) else ()
        if not members or not all(isinstance(member, str) for member in members):
            raise ZeroshotError(
                f"the members of ensemble {self.name!r} are {brief(self.members)}; expected a "
                "tuple with names of proxies"
            )
        if not callable(self.combine):
            raise ZeroshotError(
                f"the rule of ensemble {self.name!r} is {brief(self.combine)}; expected a "
                "function, such as zeroshot.ranking.rank_sum"
            )

    def __str__(self) -> str:
        return self.name

    def rate(self, ranks: Array) -> Array:
        """What the rule gives for ranks (archs × members): a number per architecture.

        Raises:
            ZeroshotError: if a rule of the caller's own fails, or gives something else.
        """
        try:
            found = np.asarray(self.combine(ranks), dtype=np.float64)
        except Exception as error:  # it may be the caller's own
            raise ZeroshotError(f"the ensemble {self.name!r} fails: {in_a_line(error)}") from error
        if found.shape != ranks.shape[:1]:
            raise ZeroshotError(
                f"the ensemble {self.name!r} gives numbers of shape {found.shape} for ranks of "
                f"shape {ranks.shape}; expected one for each architecture: combine over axis 1"
            )
        return found


def single(proxy: str) -> Ensemble:
    """One proxy as an ensemble of its own."""
    return Ensemble(proxy, (proxy,), rank_sum, "")


# -- expressions ---------------------------------------------------------------------------------

_DEPTH = 100  # levels of an expression: far more than anyone writes, far fewer than Python has

_OPERATORS: dict[type[ast.AST], Callable[..., Array]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.USub: np.negative,
    ast.UAdd: np.positive,
}
_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "log": np.log,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "min": lambda *values: reduce(np.minimum, values),
    "max": lambda *values: reduce(np.maximum, values),
}


def is_expression(text: str) -> bool:
    """Whether a text is more than a name."""
    return not text.replace(":", "").replace(".", "").isidentifier()


def expression(text: str) -> Ensemble:
    """An ensemble written down: 'log(flops) + 2*log(jacob_cov)'.

    A name stands for the rank of that proxy divided by the number of architectures, in (0, 1], 1
    the best, whatever the proxy's direction. There are numbers, + - * / **, parentheses, log, exp,
    sqrt, min and max. The result is higher is better. Numbers are double precision: what is too
    large is inf, and what has no value, such as the root of a negative number, NaN.

    Raises:
        ZeroshotError: if it cannot be read, is nested too deep, or names no proxy.
    """

    def wrong(words: str) -> ZeroshotError:
        return ZeroshotError(
            f"cannot rank by {text!r}: {words}; expected something like 'log(flops) + "
            f"2*log(jacob_cov)', with {', '.join(_FUNCTIONS)} and + - * / **"
        )

    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise wrong(f"{error.args[0]}") from error
    except (RecursionError, MemoryError) as error:
        raise wrong("it is nested too deep") from error
    members: dict[str, int] = {}

    def read(node: ast.expr, depth: int = 0) -> Callable[[Array], Any]:
        """From shares of ranks (archs × members) to the node's value."""
        if depth > _DEPTH:
            raise wrong(f"it is nested deeper than {_DEPTH} levels")
        if isinstance(node, ast.Name):
            column = members.setdefault(node.id, len(members))
            return lambda shares: shares[:, column]
        constant = node.value if isinstance(node, ast.Constant) else None
        if isinstance(constant, (int, float)) and not isinstance(constant, bool):
            try:
                number = float(constant)
            except OverflowError as error:
                raise wrong("one of its numbers is too large") from error
            return lambda shares: number
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            function, inner = _OPERATORS[type(node.op)], [node.left, node.right]
        elif isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
            function, inner = _OPERATORS[type(node.op)], [node.operand]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            if node.func.id not in _FUNCTIONS:
                raise wrong(f"there is no function {node.func.id!r}")
            function, inner = _FUNCTIONS[node.func.id], node.args
            if not inner or (len(inner) > 1 and node.func.id not in ("min", "max")):
                raise wrong(f"{node.func.id} of {len(inner)} values")
        else:
            raise wrong(f"{ast.unparse(node)!r} means nothing here")
        parts = [read(part, depth + 1) for part in inner]
        return lambda shares: function(*(part(shares) for part in parts))

    try:
        value = read(tree)
    except RecursionError as error:
        raise wrong("it is nested too deep") from error
    if not members:
        raise wrong("it names no proxy")

    def combine(ranks: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(value(ranks / len(ranks)), dtype=np.float64)

    combine.__name__ = " ".join(text.split())
    return Ensemble(text, tuple(members), combine, "")


# -- the ensembles there are -----------------------------------------------------------------------

ENSEMBLES: tuple[Ensemble, ...] = (
    # Ours; how its members and weights were chosen: docs/reproductions.md. Networks have to name
    # their blocks.
    replace(
        expression(
            "2*log(apd) + log(az_expressivity) + log(az_trainability) + log(jacob_cov) + "
            "(log(az_progressivity) + log(logsynflow)) / 2 + (log(params) + log(flops)) / 4"
        ),
        name="default",
        source="rule of arXiv:2403.19232",
    ),
    Ensemble("te_nas", ("ntk_cond", "linear_regions"), rank_sum, "arXiv:2102.11535"),
    Ensemble("vote", ("synflow", "jacob_cov", "snip"), majority_vote, "arXiv:2101.08134"),
    Ensemble(
        "az_nas",
        ("az_expressivity", "az_progressivity", "az_trainability", "flops"),
        log_rank_sum,
        "arXiv:2403.19232",
    ),
    Ensemble(
        "vkdnw_agg",
        ("flops", "az_expressivity", "az_progressivity", "vkdnw_entropy", "az_trainability"),
        log_rank_sum,
        "arXiv:2502.04975",
    ),
    # What ranks where networks name no blocks.
    Ensemble(
        "log_rank",
        ("flops", "naswot", "synflow", "jacob_cov"),
        log_rank_sum,
        "rule of arXiv:2403.19232",
    ),
)


def proxies_of(scores: pd.DataFrame) -> tuple[str, ...]:
    """The proxy columns of a scores table, after a check that it is one.

    Raises:
        ZeroshotError: for a missing key column, an architecture without a name, a doubled
            (arch, seed), a proxy column that is not numeric, or seeds that were not all run on the
            same architectures (their ranks cannot be averaged).
    """
    for key in KEYS:
        if key not in scores.columns:
            raise ZeroshotError(
                f"the scores have no column {key!r}, only {_listed(scores.columns)}; expected "
                "'arch', 'seed' and one column per proxy"
            )
    if not scores.columns.is_unique:
        twice = scores.columns[scores.columns.duplicated()][0]
        raise ZeroshotError(f"the scores have two columns {twice!r}; rename or drop one")
    proxies = tuple(str(column) for column in scores.columns if column not in KEYS)
    for proxy in proxies:
        if not pd.api.types.is_numeric_dtype(scores[proxy]):
            raise ZeroshotError(f"column {proxy!r} of the scores is not numeric; drop or fix it")
    for key in KEYS:
        if scores[key].isna().any():
            row = int(np.flatnonzero(scores[key].isna())[0]) + 1
            raise ZeroshotError(f"row {row} of the scores has no {key}; fill it in or drop the row")
    check_words(scores["arch"], "the scores")
    doubled = scores.duplicated(list(KEYS))
    if doubled.any():
        arch, seed = scores.loc[doubled, list(KEYS)].iloc[0]
        raise ZeroshotError(f"{arch} with seed {seed} has more than one row of scores; keep one")
    sizes = scores["seed"].value_counts(sort=False)
    archs = scores["arch"].nunique()
    if (sizes < archs).any():
        seed, size = sizes.idxmin(), sizes.min()
        raise ZeroshotError(
            f"seed {seed} has scores of {size} of {archs} architectures; finish that run or drop "
            "its rows: ranks are averaged over seeds of the same architectures"
        )
    return proxies


def check_words(archs: pd.Series | pd.Index, what: str) -> None:
    """ZeroshotError if architectures have been read as numbers: 0.10 is then 0.1, another one."""
    if pd.api.types.is_float_dtype(archs):
        raise ZeroshotError(
            f"{what} name architectures by numbers, such as {next(iter(archs))}, and 0.1 may have "
            "been 0.10: read the table with dtype={'arch': str}"
        )


def ratings(
    scores: pd.DataFrame, by: str | Ensemble, better: Mapping[str, str] | None = None
) -> pd.Series:
    """One number per architecture, higher is better, in the table's order.

    Ranks are taken within each seed, over all architectures of the table, combined by the
    ensemble's rule and averaged over the seeds, of which those without any rating are left out. A
    single proxy is its own rank.

    An architecture has no rating (NaN) if a member says nothing about it (NaN) for one of these; it
    then holds that member's lowest ranks, and the others are ranked above it. A constant column
    gives everyone the same rank: it has no influence on a rank sum.

    Args:
        scores: the table.
        by: a proxy column, the name of one of `ENSEMBLES`, or an ensemble of your own.
        better: direction of each column, "higher" where it is not mentioned; by default as `rank`
            has noted in the table.

    Returns:
        Ratings, indexed by arch.

    Raises:
        ZeroshotError: if the table is not sound, or lacks a column that `by` needs.
    """
    columns = proxies_of(scores)
    ensemble = find(by, columns)
    directions = scores.attrs.get("better", {}) if better is None else better
    by_seed: list[pd.Series] = []
    index = pd.Index(scores["arch"].unique(), name="arch")
    for _, rows in scores.groupby("seed", sort=True):
        table = rows.set_index("arch").loc[index, list(ensemble.members)]
        member_ranks = [
            ranks(table[member].to_numpy(np.float64), directions.get(member, "higher"))
            for member in ensemble.members
        ]
        combined = pd.Series(ensemble.rate(np.stack(member_ranks, axis=1)), index=index)
        by_seed.append(combined.mask(table.isna().any(axis=1)))
    if not by_seed:
        raise ZeroshotError("the scores have no rows; nothing to rank")
    return mean_over_seeds(by_seed).rename(ensemble.name)


def constant(scores: pd.DataFrame, columns: Iterable[str]) -> set[str]:
    """The columns that are the same for all architectures, whatever the seed."""
    varied = scores.groupby("seed")[list(columns)].nunique(dropna=False).max()
    return set(varied.index[varied == 1])


def mean_over_seeds(by_seed: Sequence[pd.Series]) -> pd.Series:
    """The mean of the ratings of seeds that have any; NaN where one of these has none.

    Columns may have other seeds than their neighbours, in scores put together from several files.
    """
    there = [rated for rated in by_seed if rated.notna().any()] or by_seed[:1]
    return sum(there[1:], start=there[0]) / len(there)


def rank(
    scores: pd.DataFrame, by: str | Ensemble, better: Mapping[str, str] | None = None
) -> pd.Series:
    """Architectures from best to worst.

    Ties stay in the table's order. Architectures without a rating (see `ratings`) come last.

    Args:
        scores: the table.
        by: a proxy column, the name of one of `ENSEMBLES`, or an ensemble of your own.
        better: direction of each column, "higher" where it is not mentioned.

    Returns:
        Indexed by arch, best first. The values are the ratings; for one proxy and one seed they are
        the raw scores, so with better="lower" they ascend.

    Raises:
        ZeroshotError: if the table is not sound, or lacks a column that `by` needs.
    """
    rated = ratings(scores, by, better)
    order = rated.sort_values(ascending=False, kind="stable", na_position="last").index
    proxy = by.name if isinstance(by, Ensemble) and by == single(by.name) else by
    if isinstance(proxy, str) and proxy in scores.columns and scores["seed"].nunique() == 1:
        return scores.set_index("arch")[proxy].loc[order]
    return rated.loc[order]


def saved(path: str | Path) -> Ensemble:
    """The expression that a text file holds, named as the file.

    Lines may be broken anywhere, and what follows a # is a comment.

    Raises:
        ZeroshotError: if there is no such file, or it holds no expression.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ZeroshotError(
            f"{path} is not there or no text; expected an expression such as 'log(flops) + "
            "2*log(jacob_cov)' in it"
        ) from error
    text = " ".join(word for line in lines for word in line.partition("#")[0].split())
    if not text:
        raise ZeroshotError(f"{path} holds no expression such as 'log(flops) + 2*log(jacob_cov)'")
    return replace(expression(text), name=path.stem)


def named(text: str) -> Ensemble | None:
    """The ensemble of that name, or an expression, written down or saved; else None."""
    if text.endswith(".txt"):
        return saved(text)
    if is_expression(text):
        return expression(text)
    return next((ensemble for ensemble in ENSEMBLES if ensemble.name == text), None)


def find(by: str | Ensemble, columns: tuple[str, ...]) -> Ensemble:
    """The ensemble meant by `by`; a proxy column is an ensemble of one.

    Raises:
        ZeroshotError: if neither a column nor an ensemble has that name, or members are missing.
    """
    check_by(by)
    if isinstance(by, str) and by in columns:
        return single(by)
    if isinstance(by, str):
        found = named(by)
        if found is None:
            names = [ensemble.name for ensemble in ENSEMBLES]
            close = get_close_matches(by, [*columns, *names], n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ZeroshotError(
                f"cannot rank by {by!r}: {hint}expected a column ({_listed(columns)}) or an "
                f"ensemble ({_listed(names)})"
            )
        by = found
    missing = [member for member in by.members if member not in columns]
    if missing:
        check_members(by.name, missing)
        raise ZeroshotError(
            f"the ensemble {by.name!r} needs {_listed(missing)}, which the scores lack; add to "
            f"--proxies {','.join(missing)}"
        )
    return by


def check_by(by: object) -> None:
    """ZeroshotError unless it is a text or an ensemble."""
    if not isinstance(by, (str, Ensemble)):
        raise ZeroshotError(
            f"cannot rank by {by!r}: expected a name, an expression or a zeroshot.Ensemble"
        )


def check_members(name: str, members: Iterable[str]) -> None:
    """ZeroshotError if an ensemble or expression has an ensemble for a member."""
    for ensemble in ENSEMBLES:
        if ensemble.name in members:
            raise ZeroshotError(
                f"cannot rank by {name!r}: {ensemble.name} is an ensemble, and an expression takes "
                f"proxies; write its members instead ({_listed(ensemble.members)})"
            )


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"
