"""Tables in the documentation are generated from the lists, and complain when they are stale.

`python -m tests.test_docs` writes them anew. Commands, code and the picture of the layers are
checked too.
"""

import inspect
import math
import re
import shlex
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
import typer

import zeroshot
from tests.checks import batch, toy
from zeroshot.cli import app
from zeroshot.core import Pass
from zeroshot.eval.verdict import duration

ROOT = Path(__file__).parents[1]
README, PROXIES = ROOT / "README.md", ROOT / "docs" / "proxies.md"
REPRODUCTIONS = ROOT / "docs" / "reproductions.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# -- tables ----------------------------------------------------------------------------------------

# Each begins with the proxy named, in the order of `zeroshot.PROXIES`.
FAMILIES = {
    "params": "size and cost",
    "grad_norm": "gradients of the loss",
    "synflow": "gradients with all weights positive",
    "jacob_cov": "gradients for the inputs",
    "naswot": "activations, layers and blocks",
    "zen": "answers to changed inputs or weights",
    "ntk_cond": "tangent kernel, Fisher information, linear regions",
}


def families() -> str:
    """The proxies' names, a line for each family."""
    lines: list[str] = []
    for proxy in zeroshot.PROXIES:
        if proxy.name in FAMILIES:
            lines.append(f"- {FAMILIES[proxy.name]}: `{proxy.name}`")
        else:
            lines[-1] += f", `{proxy.name}`"
    return "\n".join(lines)


def proxies() -> str:
    """What the lists and docstrings say of each proxy, and what was measured."""
    measured = figures()
    rows = [
        "| proxy | better | what it is | range | passes | source | cost | τ |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for proxy in zeroshot.PROXIES:
        place = proxy.formula.__module__
        asks = (sys.modules[place].__doc__ or "").split(": ", 1)[-1].strip()
        says = inspect.getdoc(proxy.formula) or ""
        cells = (
            f"[`{proxy.name}`](../{place.replace('.', '/')}.py)",
            proxy.better,
            f"{asks[0].upper()}{asks[1:]} {says.splitlines()[0]}",
            paragraph("Range", says),
            ", ".join(spelled(need) for need in proxy.needs),
            linked(proxy.source),
            duration(measured["seconds"].get(("nasbench201", proxy.name), math.nan)),
            ", ".join(tau(measured, table, proxy.name) for table in COMPARED),
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def ensembles() -> str:
    """Members and rule of each ensemble."""
    rows = ["| ensemble | members | rule | source |", "|---|---|---|---|"]
    for ensemble in zeroshot.ENSEMBLES:
        members = ", ".join(f"`{member}`" for member in ensemble.members)
        rule = f"`{ensemble.combine.__name__}`"
        rows.append(f"| `{ensemble.name}` | {members} | {rule} | {linked(ensemble.source)} |")
    return "\n".join(rows)


# Tables of accuracies, in the order of the column τ.
COMPARED = ("nasbench201", "nasbench101", "transnasbench101", "mnasnet", "autoformer")


def figures() -> pd.DataFrame:
    """What benchmarks/quality.py measured, by table and proxy; the first column of each table."""
    found = pd.read_csv(ROOT / "docs" / "quality.csv")
    return found.drop_duplicates(["table", "name"]).set_index(["table", "name"])


def tau(measured: pd.DataFrame, table: str, name: str) -> str:
    value = measured["kendall"].get((table, name), math.nan)
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")


def published() -> str:
    """Published correlations beside ours of the same table, and whether our interval holds them."""
    measured = figures()
    rows = [
        "| table | proxy | | published | source | ours | 95 % | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in pd.read_csv(ROOT / "docs" / "published.csv").itertuples():
        ours = measured.loc[(line.table, line.name)]
        value, low, high = (ours[f"{line.statistic}{end}"] for end in ("", "_lo", "_hi"))
        if math.isnan(value):
            cells = ("undefined", "", "")
        else:
            where = "inside" if low <= line.published <= high else "apart"
            cells = (f"{value:.2f}", f"{low:.2f} … {high:.2f}", where)
        sign = {"kendall": "τ", "spearman": "ρ"}[line.statistic]
        told = (f"{line.published:.2f}", linked(line.source), *cells)
        words = " | ".join(told).replace("-0.", "−0.")
        rows.append(f"| {line.table} | `{line.name}` | {sign} | {words} |")
    return "\n".join(rows)


UNUSUAL = {
    "Plain": "convolutions, batch norm, ReLU",
    "Residual": "the same with skips",
    "NoNorm": "without batch norm",
    "Transformer": "a vision transformer: layer norm, attention, GELU",
    "ReluFree": "without a ReLU",
    "Disconnected": "a part that reaches nothing",
}


def unusual() -> str:
    """Which proxies say nothing of a kind of network, and why."""
    rows = ["| network | undefined | nothing but 0, or rounding |", "|---|---|---|"]
    for kind, words in UNUSUAL.items():
        scores = zeroshot.evaluate(toy(kind), batch())
        reasons: dict[str, list[str]] = {}
        for name, reason in scores.reasons.items():
            reasons.setdefault(reason, []).append(f"`{name}`")
        silent = "; ".join(f"{', '.join(names)}: {why}" for why, names in reasons.items())
        zero = ", ".join(f"`{name}`" for name, value in scores.items() if abs(value) < 1e-12)
        rows.append(f"| {words} | {silent} | {zero} |")
    return "\n".join(rows)


def paragraph(label: str, docstring: str) -> str:
    """What a docstring says behind a label, up to the next."""
    found = re.search(rf"^{label}: (.*?)(?=^\w+: |\Z)", docstring, re.DOTALL | re.MULTILINE)
    assert found, f"no {label} in {docstring!r}"
    return " ".join(found[1].split())


def spelled(need: Pass) -> str:
    """A pass, with the settings that are not its defaults."""
    settings = ((field.name, getattr(need, field.name), field.default) for field in fields(need))
    changed = ", ".join(f"{name}={value!r}" for name, value, usual in settings if value != usual)
    return f"`{type(need).__name__}({changed})`".replace("()", "")


def linked(source: str) -> str:
    """A source with its arXiv number as a link."""
    return re.sub(r"arXiv:(\d+\.\d+)", r"[\g<0>](https://arxiv.org/abs/\1)", source)


TABLES = {
    README: (families,),
    PROXIES: (proxies, unusual, ensembles),
    REPRODUCTIONS: (published,),
}


def renewed(page: Path) -> str:
    """A page with its tables as they should be."""
    text = page.read_text()
    for table in TABLES[page]:
        name = table.__name__
        before, rest = text.split(f"<!-- {name}: ", 1)
        comment, rest = rest.split("\n", 1)
        _, after = rest.split(f"<!-- /{name} -->", 1)
        text = f"{before}<!-- {name}: {comment}\n{table()}\n<!-- /{name} -->{after}"
    return text


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_tables_are_up_to_date(page):
    assert page.read_text() == renewed(page), "stale: run python -m tests.test_docs"


# -- words -----------------------------------------------------------------------------------------


def blocks(page: Path, language: str = "") -> list[str]:
    """What stands between fences of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind == language]


COMMANDS = [
    line
    for page in PAGES
    for block in blocks(page)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("zeroshot ")
]


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_commands_exist_with_these_options(line):
    _, name, *words = shlex.split(line, comments=True)
    typer.main.get_command(app).commands[name].make_context(name, words)


# Whole examples stand on the pages too; `test_examples` runs these.
EXAMPLES = {path.read_text(): path.name for path in (ROOT / "examples").glob("*.py")}
CODE = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, code in enumerate(blocks(page, "python"))
    if page != README and code not in EXAMPLES
]


@pytest.mark.parametrize("code", CODE)
def test_code_runs(code, capsys):
    exec(compile(code, "a page", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("name", ["supernet", "space", "model"])
def test_pages_show_their_example_whole(name):
    text = (ROOT / "docs" / f"your-own-{name}.md").read_text()
    shown = {
        EXAMPLES[code]
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if code in EXAMPLES
    }
    assert shown, "an example was changed without its page"
    assert shown <= set(re.findall(r"\(\.\./examples/(\w+\.py)\)", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_layers_import_what_is_drawn_below_them():
    from tests.test_layers import FILES, imported

    section = (ROOT / "docs" / "design.md").read_text().split("## Layers", 1)[1]
    drawn = section.split("```")[1].strip().splitlines()
    height = {name: -line for line, text in enumerate(drawn) for name in text.split()}
    parts = {name: name.split(".")[1] for name in FILES if "." in name}
    assert set(parts.values()) == set(height)
    for name, part in parts.items():
        below = {parts[module] for module in imported(FILES[name]) if module in parts} - {part}
        assert all(height[other] < height[part] for other in below), name


if __name__ == "__main__":
    for page in TABLES:
        page.write_text(renewed(page))
