"""Check rankings against accuracies, or against each other without any."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zeroshot import ranking
from zeroshot.commands.arguments import respelling, truth_of
from zeroshot.commands.ranked import Ranking, rank
from zeroshot.core import Batch, Proxy
from zeroshot.edition import is_own
from zeroshot.errors import ZeroshotError, brief, whole
from zeroshot.files import writing
from zeroshot.models import Device, find_proxies
from zeroshot.progress import Progress
from zeroshot.proxies import PROXIES
from zeroshot.ranking import ENSEMBLES, Ensemble, check_words, proxies_of
from zeroshot.spaces import SPACES, Space, Task

BETTER = {proxy.name: proxy.better for proxy in PROXIES}


@dataclass(frozen=True, eq=False)
class Validation:
    """What `validate` found.

    Attributes:
        table: one row per proxy, ensemble and baseline; see `zeroshot.eval.validate`.
        verdict: the same in sentences, the advice first; see `zeroshot.eval.verdict`.
        report: the page that was written, if a folder was given.
        quantity: what the accuracies are called where they are from.
    """

    table: pd.DataFrame
    verdict: tuple[str, ...]
    report: Path | None
    quantity: str = "accuracy"

    def __repr__(self) -> str:
        return f"<Validation of {len(self.table)} rankings: {self.verdict[0]}>"


def validate(
    scores: str | Path | Sequence[str | Path] | pd.DataFrame | Ranking,
    truth: str | Path | Sequence[str | Path] | pd.Series | pd.DataFrame | Mapping[str, float],
    *,
    column: str | None = None,
    arch: str = "{arch}",
    lower_is_better: bool = False,
    benchmark_path: str | Path | None = None,
    trust: bool = False,
    by: str | Proxy | Ensemble | Sequence[str | Proxy | Ensemble] | None = None,
    out: str | Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Validation:
    """Check a ranking against accuracies that others measured.

    Args:
        scores: what `rank` returned, or its table, or its file; the table alone does not tell what
            the proxies cost, and of a proxy of your own it knows the direction only if `rank` has
            made it. Several files of one setting, with other proxies, architectures or seeds, are
            put together; see `zeroshot.eval.recorded`.
        truth: 'nb201', 'torchvision', another benchmark, 'BENCHMARK/DATASET', or a file with a
            column `arch`; several of these, which have to agree; or accuracies indexed by
            architecture, a table of them too. Architectures may be spelt in any way that their
            space reads; numbers may count rows, so they are no indices.
        column: of the file or table, if it has several of numbers.
        arch: how it spells an architecture, its columns in braces: "{normal}, {reduce}".
        lower_is_better: the truth is of losses or latencies.
        benchmark_path: where the benchmark's own files lie, for those that need them.
        trust: whether code that these files ask for may run. Most need none.
        by: ensembles of your own to compare too: expressions of the proxies, files that hold one,
            or values. Their names must be new.
        out: folder for validation.csv, plots and report.html; nothing is written without.
        resamples: of the bootstrap, at least 100.
        seed: of the bootstrap, at least 0.

    Returns:
        The table, what it says in words, and where the report is.

    Raises:
        ZeroshotError: if a file is damaged, or scores and accuracies have too little in common.
    """
    # Here, because statistics and plots take longer to load than some rankings take.
    from zeroshot.eval.plots import quantity
    from zeroshot.eval.recorded import read_recorded
    from zeroshot.eval.report import write_report
    from zeroshot.eval.tables import truth_in
    from zeroshot.eval.validate import validate as compare
    from zeroshot.eval.verdict import verdict

    record: dict[str, Any] = {}
    built: tuple[Space, Task] | None = None
    if isinstance(scores, Ranking):
        record, built, scores = scores.record, scores.built, scores.scores
    files = [scores] if isinstance(scores, (str, Path)) else scores
    some = isinstance(files, pd.DataFrame) or (isinstance(files, (list, tuple)) and files)
    if not some:
        raise ZeroshotError(f"scores {brief(scores)}: expected a ranking, its table or its files")
    source = pd.Series(truth) if isinstance(truth, Mapping) else truth
    if isinstance(source, pd.DataFrame):
        source = truth_in(source, "the truth", column, arch=arch)
    elif not isinstance(source, pd.Series):
        source = truth_of(truth, column, arch, lower_is_better, benchmark_path, trust)
        lower_is_better = source.negated
    elif column is not None:
        raise ZeroshotError(
            f"column {column!r} is for files, and the truth is one column; leave it out"
        )
    if whole("seed", seed) < 0:
        raise ZeroshotError(f"seed {seed}: expected a whole number, at least 0")
    if isinstance(files, pd.DataFrame):
        if "arch" in files:
            check_words(files["arch"], "the scores")
        scores = files.assign(arch=files["arch"].astype(str)) if "arch" in files else files
    else:
        scores, record = read_recorded([Path(file) for file in files])
    proxies_of(scores)  # says what is wrong, if it is no table of scores
    better = directions(record) | scores.attrs.get("better", {})
    space, task = _space_of(scores, record), None
    if space is None and built:
        space, task = built
    archs = list(scores["arch"].unique())
    if isinstance(source, pd.Series):
        known = _spelt(source, archs, respelling(space))
        known = -known if lower_is_better else known
    else:
        record = {"truth": str(source)} | record
        known = source.read(archs, respelling(space))
    scores = scores if space is None else _with_baselines(scores, space, task)
    given: dict[str, Any] = {
        "better": better,
        "ensembles": _with_own(by, proxies_of(scores)),
        "lower_is_better": lower_is_better,
    }
    table = compare(scores, known, resamples=resamples, seed=seed, record=record, **given)
    report = None
    if out is not None:
        report = write_report(Path(out), table, scores, known, record, **given)
    return Validation(table, verdict(table, record), report, quantity(known))


@dataclass(frozen=True, eq=False)
class Advice:
    """What `advise` found.

    Attributes:
        table: one row per proxy and baseline; see `zeroshot.eval.advise`.
        verdict: the same in sentences, the advice first; see `zeroshot.eval.verdict.advice`.
        scores: columns `arch`, `seed`, then one per proxy, raw values.
        record: how they came about.
        report: the page that was written, if a folder was given.
    """

    table: pd.DataFrame
    verdict: tuple[str, ...]
    scores: pd.DataFrame
    record: dict[str, Any]
    report: Path | None


def advise(
    space: str | Space,
    *,
    sample: int = 50,
    proxies: str | Proxy | Iterable[str | Proxy] = "all",
    data: str | Batch = "noise",
    batch_size: int = 64,
    seed: int = 0,
    repeats: int = 3,
    init: str = "default",
    small: bool = False,
    workers: int | None = None,
    scheduler: Any = None,
    device: Device = "auto",
    store: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> Advice:
    """Tell which proxies are worth computing in a space, from networks without accuracies.

    Args:
        space: its name, or a space of your own.
        sample: how many architectures, at random. A smaller space is taken whole.
        proxies: what to look at: names, comma-separated or as a tuple; 'all';
            'package.module:MY_PROXY'. Parameters, multiply-adds and depth are added to them, to
            compare with; they are counted without a network.
        data: what the networks are shown, or a batch of your own; see `load_batch`.
        batch_size: number of samples.
        seed: of sample, batch, weights and all draws.
        repeats: how many initialisations; their seeds follow `seed`. One tells nothing of how
            stable the proxies are.
        init: initialisation, a name of `zeroshot.initial.INITS`.
        small: smaller networks, for spaces that have such a shape. What the proxies cost is then
            told of these.
        workers: processes; by default one per core, and on CUDA one per GPU.
        scheduler: of a dask cluster that is to do the work instead, as for `rank`.
        device: auto, cpu, cuda or cuda:i.
        store: a file of scores: what is there is not computed again, what is computed is added.
        out: folder for advice.csv, advice.html, scores.csv and its record; the same call goes on
            where it was interrupted. Nothing is written without.
        progress: True shows a bar; a function is called with the numbers of networks done and in
            all.

    Returns:
        The table, what it says in words, the scores and their record, and where the page is.

    Raises:
        ZeroshotError: for anything that is not there, malformed or not to be written, and for
            fewer than 3 architectures.
    """
    from zeroshot.eval.advise import LEAST
    from zeroshot.eval.advise import advise as examine
    from zeroshot.eval.compare import BASELINES
    from zeroshot.eval.report import write_advice
    from zeroshot.eval.verdict import advice as advised

    if whole("sample", sample) < LEAST:
        raise ZeroshotError(f"a sample of {sample}; expected at least {LEAST} architectures")
    wanted = find_proxies(proxies)
    names = {proxy.name for proxy in wanted}
    added = (proxy for proxy in PROXIES if proxy.name in BASELINES and proxy.name not in names)
    folder = None if out is None else Path(out)
    if folder is not None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    found = rank(
        space,
        sample=sample,
        proxies=(*wanted, *added),
        data=data,
        batch_size=batch_size,
        seed=seed,
        repeats=repeats,
        init=init,
        small=small,
        workers=workers,
        scheduler=scheduler,
        device=device,
        store=store,
        out=None if folder is None else folder / "scores.csv",
        progress=progress,
    )
    better = directions(found.record)
    table = examine(found.scores, better=better, record=found.record)
    report = None
    if folder is not None:
        report = write_advice(folder, table, found.scores, found.record, better=better)
    return Advice(table, advised(table), found.scores, found.record, report)


def _with_own(
    by: str | Proxy | Ensemble | Sequence[str | Proxy | Ensemble] | None, columns: tuple[str, ...]
) -> tuple[Ensemble, ...]:
    """The ensembles there are, and the user's own; ZeroshotError where one takes another's name."""
    several = [by] if isinstance(by, (str, Ensemble, Proxy)) else list(by or ())
    asked = [each.name if isinstance(each, Proxy) else each for each in several]
    listed = {each.name: each for each in (*ENSEMBLES, *map(ranking.single, columns))}
    for number, each in enumerate(asked):
        if each in asked[:number]:
            continue
        own = ranking.find(each, columns)
        if listed.setdefault(own.name, own) != own:
            raise ZeroshotError(
                f"by {str(each)!r}: there is a proxy or an ensemble {own.name!r} already; rename "
                "the file, or what it is that you name so"
            )
    return tuple(each for name, each in listed.items() if name not in columns)


def directions(record: dict[str, Any]) -> dict[str, str]:
    """The direction of every proxy, the user's own as the record tells."""
    told = record.get("run")
    better = told.get("better") if isinstance(told, dict) else None
    return BETTER | (better if isinstance(better, dict) else {})


def _spelt(truth: pd.Series, archs: list[str], respell: Callable[[str], str] | None) -> pd.Series:
    """Accuracies as numbers, by architectures as the space spells them."""
    check_words(truth.index, "the accuracies")
    numbers = pd.to_numeric(truth, errors="coerce")
    wrong = truth[numbers.isna() & truth.notna()]
    if len(wrong):
        raise ZeroshotError(
            f"truth: {brief(wrong.iloc[0])} of {wrong.index[0]} is no number; expected accuracies"
        )
    scored = set(archs)

    def spelt(name: object) -> str:
        text = str(name)
        if respell is None or text in scored or not isinstance(name, str):
            return text  # a number may be that of a row
        try:
            return respell(text)
        except ZeroshotError as error:
            raise ZeroshotError(f"the accuracies: {error}; drop that row") from error

    return numbers.rename(index=spelt) if not scored >= set(truth.index) else numbers


def _with_baselines(scores: pd.DataFrame, space: Space, task: Task | None = None) -> pd.DataFrame:
    """Add params, flops and depth, for the space's own networks."""
    from zeroshot.eval.compare import BASELINES

    missing = [name for name in BASELINES if name not in scores.columns]
    if not missing:
        return scores
    task = task or space.task
    costs = {text: space.cost(space.parse(text), task) for text in scores["arch"].unique()}
    formulas = {proxy.name: proxy.formula for proxy in PROXIES}
    added = {
        name: [float(formulas[name](costs[arch])) for arch in scores["arch"]] for name in missing
    }
    return scores.assign(**added)


def _space_of(scores: pd.DataFrame, record: Mapping[str, Any]) -> Space | None:
    """The package's space that the record names, or else one whose own notation the table has.

    Indices and options, as '0.2.1', could be any space's, one of the user's own too.
    """
    run = record.get("run")
    told = run if isinstance(run, dict) else {}
    name, code = (str(told.get(part, "")) for part in ("space", "code"))
    if is_own(code):  # whatever its name
        return None
    for space in SPACES:
        if name and name.partition("(")[0] != type(space).__name__:
            continue
        read = space.parse if name else space.parse_native
        try:
            for text in scores["arch"].unique():
                read(text)
        except ZeroshotError:
            continue
        return space
    return None
