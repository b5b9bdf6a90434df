"""Who may import whom. The cheapest defence against a tangle."""

import ast
import builtins
import dis
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

ROOT = Path(__file__).parents[1] / "zeroshot"
FILES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

# Of zeroshot, a module may import these (or modules inside them). What is not here is free.
MAY = {
    "zeroshot.errors": (),
    "zeroshot.edition": (),
    "zeroshot.restore": (),
    "zeroshot.core": ("edition", "errors", "restore"),
    "zeroshot.narrow": (),
    "zeroshot.observe": ("errors", "narrow"),
    "zeroshot.linalg": ("errors",),
    "zeroshot.initial": ("core", "errors"),
    "zeroshot.passes": ("core", "errors", "linalg", "narrow", "observe", "passes"),
    "zeroshot.proxies": ("core", "errors", "linalg", "passes", "proxies"),
    "zeroshot.spaces": ("core", "edition", "errors", "initial", "passes", "restore", "spaces"),
    "zeroshot.scoring": ("core", "errors", "passes", "proxies", "restore"),
}
# Tensors stop before these.
TABLES = ("zeroshot.ranking", "zeroshot.eval", "zeroshot.searches", "zeroshot.store")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            assert node.module
            found.add(node.module)
            whole = {f"{node.module}.{name.name}" for name in node.names}
            found |= whole & set(FILES)
    return found


def inside(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("name", FILES)
def test_imports_only_what_lies_below(name):
    for layer, below in MAY.items():
        if inside(name, layer):
            ours = {module for module in imported(FILES[name]) if inside(module, "zeroshot")}
            wrong = {m for m in ours if not inside(m, *(f"zeroshot.{part}" for part in below))}
            assert not wrong - {"zeroshot"}


@pytest.mark.parametrize("name", [name for name in FILES if inside(name, *TABLES)])
def test_tensors_stop_at_the_table(name):
    assert not {module for module in imported(FILES[name]) if inside(module, "torch")}


@pytest.mark.parametrize("name", FILES)
def test_nothing_imports_the_command_line(name):
    if not inside(name, "zeroshot.cli") and name != "zeroshot.__main__":
        assert not {module for module in imported(FILES[name]) if inside(module, "zeroshot.cli")}


@pytest.mark.parametrize("name", FILES)
def test_no_drawer_for_everything(name):
    assert name.rpartition(".")[2] not in {"utils", "base", "helpers", "common", "registry"}


def names_of(code: CodeType) -> Iterator[str]:
    """The global names that some code, or a function in it, looks up."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_of(constant)


@pytest.mark.parametrize("name", FILES)
def test_every_name_is_known(name):
    """Linters cannot tell, for shapes stand in strings where they expect types."""
    known = {*vars(importlib.import_module(name)), *vars(builtins)}
    code = compile(FILES[name].read_text(encoding="utf-8"), FILES[name], "exec")
    assert not set(names_of(code)) - known


SCRIPTS = sorted(
    path for folder in ("benchmarks", "examples") for path in (ROOT.parent / folder).glob("*.py")
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_what_is_there(path):
    """They are run by hand, when a name may long have moved."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zeroshot"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name) or f"{node.module}.{name.name}" in FILES
