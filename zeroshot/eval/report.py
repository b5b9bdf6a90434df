"""What a validation, or advice, leaves behind: CSVs, PNGs, and one HTML file with all in it."""

import io
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from zeroshot.eval.columns import ADVICE, BESIDES, DIFFERENCES, NAME, STATISTICS
from zeroshot.eval.compare import candidates, correlations, mean_ratings, ratings_by_seed
from zeroshot.eval.page import (
    Column,
    definitions,
    digits,
    facts,
    image,
    number,
    page,
    rows,
    sentences,
)
from zeroshot.eval.plots import heat_map, pareto, quantity, scatter, short_names
from zeroshot.eval.validate import rank_correlations
from zeroshot.eval.verdict import advice, verdict
from zeroshot.files import write_bytes, writing
from zeroshot.ranking import ENSEMBLES, Ensemble, proxies_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_report(
    folder: Path,
    table: pd.DataFrame,
    scores: pd.DataFrame,
    truth: pd.Series,
    record: Mapping[str, object],
    *,
    better: Mapping[str, str] | None = None,
    ensembles: tuple[Ensemble, ...] = ENSEMBLES,
    lower_is_better: bool = False,
) -> Path:
    """Write validation.csv, plots/*.png and report.html.

    Each file appears whole or not at all. The page needs no network and no other file.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        table: what `validate` returned.
        scores: the scores it was given.
        truth: the accuracies it was given.
        record: facts of the run, shown as they are: command, versions, seeds, batch hash, device,
            seconds per pass. Values may be nested mappings.
        better: direction of each column, as given to `validate`.
        ensembles: as given to `validate`.
        lower_is_better: as given to `validate`.

    Returns:
        The path of report.html.

    Raises:
        ZeroshotError: if a file cannot be written.
    """
    better = better or {}
    named = {ensemble.name: ensemble for ensemble in ensembles}
    table = table.sort_values("kendall", ascending=False, kind="stable", na_position="last")
    _write(folder / "validation.csv", table.to_csv(index=False).encode())
    among = rank_correlations(scores, truth, better=better, ensembles=ensembles)
    plots = {"heat-map": _png(heat_map(among, table.set_index("name")["cluster"]))}
    if (table["seconds"].notna() & table["kendall"].notna()).any():
        plots["pareto"] = _png(pareto(table))
    titles, scatters = short_names(table["name"]), {}
    for _, row in table.iterrows():
        name = str(row["name"])
        by = name if name in scores.columns else named.get(name, name)
        figure = scatter(
            scores,
            truth,
            row,
            by=by,
            better=better,
            title=titles[name],
            lower_is_better=lower_is_better,
        )
        scatters[_unused(f"scatter-{name}", scatters)] = _png(figure)
    for name, picture in (plots | scatters).items():
        _write(folder / "plots" / f"{name}.png", picture)
    parts = [
        f"<p class=quiet>{_summary(table)}</p>",
        sentences(verdict(table, record)),
        "<h2>Validation</h2>",
        rows(table, STATISTICS),
        f"<p class=quiet>Sorted by Kendall τ. Best {escape(quantity(truth))} there was to pick: "
        f"{digits(table['best'].iloc[0])}.</p>",
        "<h2>Against the best, and against size</h2>",
        f"<p class=quiet>{_rivals(table)}</p>",
        rows(table, DIFFERENCES),
        "<h2>Size, seeds and cost</h2>",
        rows(table, BESIDES),
        "<h2>Cost and quality</h2>",
        _costs(plots.get("pareto")),
        "<h2>Which proxies agree</h2>",
        "<p class=quiet>Spearman’s ρ of every pair, and with the accuracy (last). Frames are "
        "clusters.</p>",
        _map(plots["heat-map"], len(among)),
        "<h2>Score and accuracy</h2><div class=grid>",
        *(
            f"<figure>{image(png, name.removeprefix('scatter-') + ' and accuracy')}</figure>"
            for name, png in scatters.items()
        ),
        "</div><h2>What the columns mean</h2>",
        _meanings((*STATISTICS, *DIFFERENCES, *BESIDES)),
        "<h2>The run</h2>",
        facts(record),
    ]
    path = folder / "report.html"
    _write(path, page("Do the scores predict accuracy?", parts).encode())
    return path


def write_advice(
    folder: Path,
    table: pd.DataFrame,
    scores: pd.DataFrame,
    record: Mapping[str, object],
    *,
    better: Mapping[str, str] | None = None,
) -> Path:
    """Write advice.csv and advice.html, as `write_report` does.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        table: what `zeroshot.eval.advise` returned.
        scores: the scores it was given.
        record: facts of the run.
        better: direction of each column, as given to `advise`.

    Returns:
        The path of advice.html.

    Raises:
        ZeroshotError: if a file cannot be written.
    """
    _write(folder / "advice.csv", table.to_csv(index=False).encode())
    among = correlations(mean_ratings(ratings_by_seed(scores, proxies_of(scores), better)))
    clusters = table.set_index("name")["cluster"]
    picture = _png(heat_map(among, clusters, accuracy=False))
    parts = [
        f"<p class=quiet>{scores['arch'].nunique():,} architectures, {table['seeds'].max()} "
        "seeds, no accuracies.</p>",
        sentences(advice(table)),
        "<h2>Proxy by proxy</h2>",
        rows(table, ADVICE),
        "<h2>Which proxies agree</h2>",
        "<p class=quiet>Spearman’s ρ of every pair. Frames are clusters.</p>",
        _map(picture, len(among)),
        "<h2>What the columns mean</h2>",
        _meanings(ADVICE),
        "<h2>The run</h2>",
        facts(record),
    ]
    path = folder / "advice.html"
    _write(path, page("Which proxies are worth computing?", parts).encode())
    return path


def _meanings(columns: tuple[Column, ...]) -> str:
    return definitions([NAME, *((column.heading, column.meaning) for column in columns)])


def _summary(table: pd.DataFrame) -> str:
    """How many architectures, and whether anything beats the baselines."""
    known = candidates(table)
    if known.empty:
        return "No score orders anything: every correlation is undefined."
    top = known.iloc[0]
    text = f"{int(table['measured'].max()):,} architectures. Best by Kendall’s τ: {_named(top)}"
    baselines = candidates(table[table["kind"] == "baseline"])
    if top["kind"] != "baseline" and len(baselines):
        text += f"; the best baseline is {_named(baselines.iloc[0])}"
    if (table["unmatched"] > 0).any():
        text += f". {int(table['unmatched'].max()):,} scored architectures have no accuracy"
    return text + "."


def _rivals(table: pd.DataFrame) -> str:
    """To whom the differences are."""
    baseline = table["kind"] == "baseline"
    rivals = (table[~baseline], "the best proxy"), (table[baseline], "the best baseline")
    best = ((candidates(found), what) for found, what in rivals)
    named = [f"{_named(found.iloc[0])}, {what}" for found, what in best if len(found)]
    return f"By how much Kendall’s τ is higher than that of {'; and of '.join(named) or 'none'}."


def _map(picture: bytes, names: int) -> str:
    """The heat map, as wide as its figures need to be read; on a phone, as wide as that."""
    width = f"min-width: {max(46, 8 + 1.6 * names):.0f}rem"
    return f'<figure class="scroll map">{image(picture, "Rank correlations", width)}</figure>'


def _costs(picture: bytes | None) -> str:
    if picture is None:
        words = "There is no run record that tells passes and seconds, and so no picture of costs."
        return f"<p class=quiet>{words}</p>"
    return (
        "<p class=quiet>The line joins what no other beats in both.</p>"
        f'<figure class="scroll plot">{image(picture, "Cost and quality")}</figure>'
    )


def _named(row: pd.Series) -> str:
    return f"<b>{escape(str(row['name']))}</b> with {number(row['kendall'], 3)}"


# -- files -----------------------------------------------------------------------------------------


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """A file name like `name` that no other plot has; a proxy may be called anything."""
    plain = re.sub(r"[^\w.-]", "_", name)[:80]
    count, result = 1, plain
    while result in taken:
        count += 1
        result = f"{plain}-{count}"
    return result


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
