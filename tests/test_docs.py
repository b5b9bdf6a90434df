"""Tables in the documentation are generated from the lists, and complain when they are stale.

`python tests/test_docs.py` writes them anew.
"""

import sys
from pathlib import Path

import zeroshot

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- proxies: ", "<!-- /proxies -->"


def proxies_table() -> str:
    lines = ["| proxy | better | what it asks | source |", "|---|---|---|---|"]
    for proxy in zeroshot.PROXIES:
        module = sys.modules[f"zeroshot.proxies.{proxy.name}"]
        asks = (module.__doc__ or "").split(": ", 1)[1].strip()
        source = proxy.source
        if source.startswith("arXiv:"):
            number = source.removeprefix("arXiv:")
            source = f"[{source}](https://arxiv.org/abs/{number})"
        lines.append(f"| `{proxy.name}` | {proxy.better} | {asks} | {source} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    before, rest = text.split(START, 1)
    comment, rest = rest.split("\n", 1)
    _, after = rest.split(END, 1)
    return f"{before}{START}{comment}\n{proxies_table()}\n{END}{after}"


def test_readme_lists_every_proxy():
    text = README.read_text()
    assert text == with_table(text), "stale: run python tests/test_docs.py"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
