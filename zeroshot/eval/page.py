"""The pieces of a page: one HTML file that has everything in it, and no script."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

CSS = """
:root { color-scheme: light dark; --ink: #1f2933; --quiet: #66727f; --line: #dfe4ea;
  --paper: #fff; --shade: #f5f7f9; --accent: #2f6f9f; --bar: #8fb8d3; --edge: #0005; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ed; --quiet: #98a4b0; --line: #333c45;
  --paper: #161616; --shade: #1f2327; --accent: #7fb4da; --bar: #3f6f92; --edge: #fff5; }
  img { filter: invert(.915) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 2.8rem 0 .8rem; }
p { max-width: 46rem; margin: .4rem 0; }
.quiet, small { color: var(--quiet); }
/* Where a table goes on sideways, the edge is in shadow: what is scrolled with it covers that. */
.scroll { overflow-x: auto; background:
  linear-gradient(to left, var(--paper) 1.5rem, transparent 3rem) right / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--edge), transparent) right / 1.2rem 100% no-repeat scroll; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
thead th { font-weight: 600; font-size: .82rem; color: var(--quiet); vertical-align: bottom; }
tbody th { text-align: left; font-weight: 600; position: sticky; left: 0;
  background: var(--paper); }
thead th:first-child { text-align: left; }
td small, th small { display: block; font-weight: 400; font-size: .76rem; }
tr.baseline th { background: var(--shade); }
tr.baseline td { background: #8292a214; }  /* the same, and lets the shadow through */
.bar { display: block; height: 5px; min-width: 7.5rem; margin: .3rem 0 .1rem; position: relative;
  background: var(--line); border-radius: 3px; }
.bar i { position: absolute; top: 0; bottom: 0; background: var(--bar); border-radius: 3px; }
.bar b { position: absolute; top: -3px; bottom: -3px; width: 3px; margin-left: -1.5px;
  background: var(--accent); border-radius: 2px; }
figure { margin: 0; }
img { display: block; max-width: 100%; height: auto; background: #fff; }
.map img { width: 100%; max-width: 60rem; }
.plot img { width: 100%; min-width: 32rem; max-width: 44rem; }
ul.verdict { margin: 1.2rem 0 0; padding: .9rem 1.2rem .9rem 2.2rem; max-width: 50rem;
  background: var(--shade); border-left: 3px solid var(--accent); border-radius: 0 4px 4px 0; }
ul.verdict li { margin: .25rem 0; overflow-wrap: anywhere; }
ul.verdict li:first-child { font-weight: 600; }
td.words { white-space: normal; text-align: left; min-width: 12rem; }
th.words { text-align: left; }
.bar u { position: absolute; top: -2px; bottom: -2px; width: 1px; background: var(--quiet); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr));
  gap: 1.6rem 1.2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; margin: 0;
  font-size: .92rem; }
dt { font-weight: 600; } dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
dd code { font: .86em ui-monospace, Menlo, Consolas, monospace; white-space: pre-wrap; }
@media (max-width: 40rem) { body { padding: 1.2rem .9rem 3rem; } th, td { padding: .4rem .5rem; }
  .bar { min-width: 5rem; } .map img, .plot img { min-width: 0 !important; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin: 0 0 .7rem; } }
"""


@dataclass(frozen=True)
class Column:
    """A column of a page's table.

    Attributes:
        heading: in HTML, as is `meaning`.
        meaning: what the list under the tables says of it.
        cell: from a row, and the table it is in, to HTML.
        words: whether cells are text, which may wrap.
    """

    heading: str
    meaning: str
    cell: Callable[[pd.Series, pd.DataFrame], str]
    words: bool = False


def page(title: str, parts: Sequence[str]) -> str:
    """A whole page of parts in HTML, under a title."""
    lines = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *parts,
        "</body></html>\n",
    ]
    return "\n".join(lines)


def sentences(said: Sequence[str]) -> str:
    """A list of sentences, of which the first counts most."""
    return "<ul class=verdict>" + "".join(f"<li>{escape(words)}</li>" for words in said) + "</ul>"


def rows(table: pd.DataFrame, columns: Sequence[Column]) -> str:
    """A table with a row for each of `table`, whose columns name and kind head it."""
    head = "".join(
        f'<th scope="col"{" class=words" if column.words else ""}>{column.heading}</th>'
        for column in columns
    )
    lines = [
        f'<div class=scroll><table><thead><tr><th scope="col">proxy</th>{head}</tr></thead><tbody>'
    ]
    for _, row in table.iterrows():
        kind = escape(str(row["kind"]))
        note = "" if kind == "proxy" else f"<small>{kind}</small>"
        cells = "".join(
            f"<td{' class=words' if column.words else ''}>{column.cell(row, table)}</td>"
            for column in columns
        )
        name = escape(str(row["name"]))
        lines.append(f'<tr class={kind}><th scope="row">{name}{note}</th>{cells}</tr>')
    return "\n".join([*lines, "</tbody></table></div>"])


def definitions(pairs: Sequence[tuple[str, str]]) -> str:
    """Terms and what they mean, in HTML."""
    return f"<dl>{''.join(f'<dt>{term}</dt><dd>{meaning}</dd>' for term, meaning in pairs)}</dl>"


def facts(record: Mapping[str, object]) -> str:
    """A record as it stands; values may be nested mappings."""
    return definitions([(escape(str(key)), _fact(value)) for key, value in record.items()])


def image(png: bytes, alt: str, style: str = "") -> str:
    """A picture that is part of the page."""
    data = base64.b64encode(png).decode()
    look = f' style="{style}"' if style else ""
    return f'<img alt="{escape(alt)}"{look} src="data:image/png;base64,{data}">'


def estimate(key: str, most: float = 1.0) -> Callable[[pd.Series, pd.DataFrame], str]:
    """A cell: the value of `key`, the interval `key`_lo to `key`_hi, and both on a bar.

    The bar spans all intervals of the table, and 0 to `most`; where it goes below 0, 0 is marked.
    NaN gives a dash.
    """

    def cell(row: pd.Series, table: pd.DataFrame) -> str:
        value, low, high = row[key], row[f"{key}_lo"], row[f"{key}_hi"]
        if np.isnan(value):
            return "–"
        text = number(value, 3)
        if np.isnan(low):
            return text
        left = min(0.0, table[f"{key}_lo"].min())  # NaNs are skipped
        width = max(most, table[f"{key}_hi"].max()) - left or 1.0
        start, end, at, zero = (100 * (place - left) / width for place in (low, high, value, 0))
        mark = f'<u style="left:{zero:.1f}%"></u>' if left < 0 else ""
        return (
            f"{text}<small>{number(low, 2)} to {number(high, 2)}</small><span class=bar>"
            f'{mark}<i style="left:{start:.1f}%;width:{end - start:.1f}%"></i>'
            f'<b style="left:{at:.1f}%"></b></span>'
        )

    return cell


def number(value: float, digits: int) -> str:
    """With so many digits behind the point; a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def digits(value: float) -> str:
    """With four significant digits; a dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.4g}".replace("-", "−")


def percent(value: float) -> str:
    """A share as a percentage; a dash for NaN."""
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
