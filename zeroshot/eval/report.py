"""What a validation leaves behind: a CSV, PNGs, and one HTML file that has everything in it."""

import base64
import io
import json
import os
import re
import tempfile
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zeroshot.errors import ZeroshotError
from zeroshot.eval.plots import heat_map, scatter
from zeroshot.eval.validate import rank_correlations
from zeroshot.ranking import ENSEMBLES, Ensemble

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Column of the page's table: heading, and what it means.
COLUMNS = (
    ("", "name", "The proxy; <i>ensemble</i>s combine the ranks of several, <i>baseline</i>s cost "
     "nothing to compute: a proxy is worth its time only if it beats them."),
    ("kendall", "Kendall τ", "Kendall’s τ-b between score and accuracy: of all pairs of "
     "architectures, the share ordered correctly minus the share ordered wrongly, corrected for "
     "ties. Directions are applied, so 1 is perfect, 0 is chance, and below 0 the proxy misleads. "
     "Below it, the 95 % bootstrap interval over architectures."),
    ("spearman", "Spearman ρ", "The correlation of the ranks, with its 95 % interval."),
    ("partial_spearman", "ρ given size", "Partial Spearman given the ranks of parameters and "
     "multiply-adds: what the score knows beyond how large the network is."),
    ("precision_top10", "top 10 %", "Share of the 10 % best by score that are among the 10 % best "
     "by accuracy; chance is 10 %."),
    ("ndcg", "nDCG", "How good the top of the order is: gain 2<sup>accuracy</sup>, so one "
     "percentage point less halves it, discounted by position; 1 is perfect."),
    ("picked", "picked", "True accuracy of the architecture the score puts first (the mean, if "
     "several tie)."),
    ("n", "n", "Architectures with both a score and an accuracy."),
    ("coverage", "coverage", "Share of the architectures with an accuracy that the proxy could "
     "score; the rest are left out of its statistics."),
    ("ties", "ties", "Share of pairs with equal scores, which the proxy cannot order."),
)  # fmt: skip


def write_report(
    folder: Path,
    table: pd.DataFrame,
    scores: pd.DataFrame,
    truth: pd.Series,
    record: Mapping[str, object],
    *,
    better: Mapping[str, str] | None = None,
    ensembles: tuple[Ensemble, ...] = ENSEMBLES,
    title: str = "Do the scores predict accuracy?",
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
        title: of the page.

    Returns:
        The path of report.html.

    Raises:
        ZeroshotError: if a file cannot be written.
    """
    better = better or {}
    named = {ensemble.name: ensemble for ensemble in ensembles}
    table = table.sort_values("kendall", ascending=False, kind="stable", na_position="last")
    _write(folder / "validation.csv", table.to_csv(index=False).encode())
    correlations = rank_correlations(scores, truth, better=better, ensembles=ensembles)
    plots = {"heat-map": _png(heat_map(correlations))}
    for _, row in table.iterrows():
        name = str(row["name"])
        by = name if name in scores.columns else named.get(name, name)
        figure = scatter(scores, truth, row, by=by, better=_direction(by, better))
        plots[_unused(f"scatter-{name}", plots)] = _png(figure)
    for name, image in plots.items():
        _write(folder / "plots" / f"{name}.png", image)
    path = folder / "report.html"
    _write(path, _page(table, plots, record, title).encode())
    return path


# -- the page --------------------------------------------------------------------------------------

_CSS = """
:root { color-scheme: light dark; --ink: #1f2933; --quiet: #66727f; --line: #dfe4ea;
  --paper: #fff; --shade: #f5f7f9; --accent: #2f6f9f; --bar: #8fb8d3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ed; --quiet: #98a4b0; --line: #333c45;
  --paper: #161616; --shade: #1f2327; --accent: #7fb4da; --bar: #3f6f92; }
  img { filter: invert(.915) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.8rem 0 .8rem; }
p { max-width: 46rem; margin: .4rem 0; }
.quiet, small { color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
thead th { font-weight: 600; font-size: .82rem; color: var(--quiet); vertical-align: bottom; }
tbody th { text-align: left; font-weight: 600; position: sticky; left: 0;
  background: var(--paper); }
thead th:first-child { text-align: left; }
td small, th small { display: block; font-weight: 400; font-size: .76rem; }
tr.baseline td, tr.baseline th { background: var(--shade); }
.bar { display: block; height: 5px; min-width: 7.5rem; margin: .3rem 0 .1rem; position: relative;
  background: var(--line); border-radius: 3px; }
.bar i { position: absolute; top: 0; bottom: 0; background: var(--bar); border-radius: 3px; }
.bar b { position: absolute; top: -3px; bottom: -3px; width: 3px; margin-left: -1.5px;
  background: var(--accent); border-radius: 2px; }
figure { margin: 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; }
.map img { width: 100%; min-width: 46rem; max-width: 60rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr));
  gap: 1.6rem 1.2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0;
  font-size: .92rem; }
dt { font-weight: 600; } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
dd code { font: .86em ui-monospace, Menlo, Consolas, monospace; white-space: pre-wrap; }
@media (max-width: 40rem) { body { padding: 1.2rem .9rem 3rem; } th, td { padding: .4rem .5rem; }
  .bar { min-width: 5rem; }  dl { grid-template-columns: 1fr; gap: 0; } dd { margin: 0 0 .7rem; } }
"""


def _page(
    table: pd.DataFrame, plots: Mapping[str, bytes], record: Mapping[str, object], title: str
) -> str:
    best = table["best"].iloc[0]
    least = min(0.0, table[["kendall_lo", "spearman_lo"]].min(axis=None))  # NaNs are skipped
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_CSS}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p class=quiet>{_summary(table)}</p>",
        "<h2>Validation</h2>",
        '<div class=scroll><table><thead><tr><th scope="col">proxy</th>',
        *(f'<th scope="col">{heading}</th>' for key, heading, _ in COLUMNS if key),
        "</tr></thead><tbody>",
        *(_row(row, least) for _, row in table.iterrows()),
        "</tbody></table></div>",
        f"<p class=quiet>Sorted by Kendall τ. Bars run from {_number(least, 2)} to 1. Best "
        f"accuracy there was to pick: {_digits(best)}.</p>",
        "<h2>Which proxies agree</h2>",
        "<p class=quiet>Spearman’s ρ of every pair, and with the accuracy (last).</p>",
        f'<figure class="scroll map">{_image(plots["heat-map"], "Rank correlations")}</figure>',
        "<h2>Score and accuracy</h2><div class=grid>",
        *(
            f"<figure>{_image(png, name.removeprefix('scatter-') + ' and accuracy')}</figure>"
            for name, png in plots.items()
            if name != "heat-map"
        ),
        "</div><h2>What the columns mean</h2><dl>",
        *(f"<dt>{heading}</dt><dd>{meaning}</dd>" for _, heading, meaning in COLUMNS),
        "</dl><h2>The run</h2><dl>",
        *(f"<dt>{escape(str(key))}</dt><dd>{_fact(value)}</dd>" for key, value in record.items()),
        "</dl></body></html>\n",
    ]
    return "\n".join(lines)


def _summary(table: pd.DataFrame) -> str:
    """One sentence on whether anything beats the baselines."""
    known = table[table["kendall"].notna()]
    if known.empty:
        return "No score orders anything: every correlation is undefined."
    top = known.iloc[0]
    text = f"{int(table['n'].max()):,} architectures. Best by Kendall’s τ: {_named(top)}"
    baselines = known[known["kind"] == "baseline"]
    if top["kind"] != "baseline" and len(baselines):
        text += f"; the best baseline is {_named(baselines.iloc[0])}"
    if (table["unmatched"] > 0).any():
        text += f". {int(table['unmatched'].max()):,} scored architectures have no accuracy"
    return text + "."


def _named(row: pd.Series) -> str:
    return f"<b>{escape(str(row['name']))}</b> with {_number(row['kendall'], 3)}"


def _row(row: pd.Series, least: float) -> str:
    kind = str(row["kind"])
    note = "" if kind == "proxy" else f"<small>{escape(kind)}</small>"
    cells = [
        _estimate(row, "kendall", least),
        _estimate(row, "spearman", least),
        _number(row["partial_spearman"], 2),
        _percent(row["precision_top10"]),
        _number(row["ndcg"], 3),
        _digits(row["picked"]),
        f"{int(row['n']):,}",
        _percent(row["coverage"]),
        _percent(row["ties"]),
    ]
    data = "".join(f"<td>{cell}</td>" for cell in cells)
    head = f'<th scope="row">{escape(str(row["name"]))}{note}</th>'
    return f"<tr class={escape(kind)}>{head}{data}</tr>"


def _estimate(row: pd.Series, key: str, least: float) -> str:
    """The value, its interval in digits, and both on a bar from `least` to 1."""
    value, low, high = row[key], row[f"{key}_lo"], row[f"{key}_hi"]
    if np.isnan(value):
        return "–"
    text = f"{_number(value, 3)}"
    if np.isnan(low):
        return text
    left, right, at = (100 * (end - least) / (1 - least) for end in (low, high, value))
    return (
        f"{text}<small>{_number(low, 2)} to {_number(high, 2)}</small><span class=bar>"
        f'<i style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
        f'<b style="left:{at:.1f}%"></b></span>'
    )


def _number(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def _digits(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.4g}".replace("-", "−")


def _percent(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "< 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %".replace(".0 %", " %")


def _fact(value: object) -> str:
    if isinstance(value, Mapping):
        value = "\n".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return f"<code>{escape(_plain(value))}</code>"


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _image(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


# -- files -----------------------------------------------------------------------------------------


def _direction(by: str | Ensemble, better: Mapping[str, str]) -> str:
    return better.get(by, "higher") if isinstance(by, str) else "higher"


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """A file name like `name` that no other plot has; a proxy may be called anything."""
    plain = re.sub(r"[^\w.-]", "_", name)
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
    """Write a file by way of a temporary one beside it, so that it is never seen half-written."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ZeroshotError(
            f"cannot write {path}: {error.strerror or error}; name a folder that can be written"
        ) from error
