import subprocess
import sys

import pytest

import zeroshot

HEAVY = "{'torch', 'torchvision', 'pandas', 'numpy', 'sklearn', 'matplotlib'}"


@pytest.mark.parametrize(
    "code",
    [
        "import zeroshot; zeroshot.__version__; dir(zeroshot)",
        "import zeroshot.cli",
        "import sys, zeroshot.cli; sys.argv = ['zeroshot', '--help']\n"
        "try: zeroshot.cli.main()\n"
        "except SystemExit as end: assert end.code == 0",
        "import sys, zeroshot.cli; sys.argv = ['zeroshot', 'rank', '--help']\n"
        "try: zeroshot.cli.main()\n"
        "except SystemExit as end: assert end.code == 0",
    ],
    ids=["package", "cli", "help", "rank help"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code):
    check = f"{code}\nimport sys; loaded = {HEAVY} & set(sys.modules); assert not loaded, loaded"
    subprocess.run([sys.executable, "-W", "error", "-c", check], check=True, capture_output=True)


def test_every_name_is_there():
    listed = [name for names in zeroshot._HOME.values() for name in names]
    assert sorted([*listed, "__version__"]) == sorted(zeroshot.__all__)
    for name in zeroshot.__all__:
        assert getattr(zeroshot, name) is not None
    assert {*zeroshot.__all__, *zeroshot._MODULES} <= set(dir(zeroshot))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = zeroshot.nothing


def test_modules_that_documents_name_are_there():
    code = "import zeroshot; [getattr(zeroshot, n) for n in zeroshot._MODULES]"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True)


def test_the_example_of_the_docstring():
    import torch

    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 10))
    (line,) = [x for x in zeroshot.__doc__.splitlines() if "evaluate" in x]
    names = {"zeroshot": zeroshot, "model": model}
    exec(line.strip(), names)
    assert names["scores"]["params"] == 30730
