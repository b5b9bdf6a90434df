"""The command line in a process of its own: `zeroshot`, or `python -m zeroshot`."""

import gc

from zeroshot import cli


def main() -> None:
    """Run it; the garbage collector seldom goes through all that PyTorch loads."""
    gc.set_threshold(50_000)
    try:
        cli.main()
    finally:
        gc.freeze()  # else it would at the end, which takes half a second


if __name__ == "__main__":
    main()
