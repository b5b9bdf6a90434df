"""The picture of a training."""

from pathlib import Path

import pandas as pd

from zeroshot.eval.plots import ACCENT, SPOT, STYLE, tidy


def draw(history: pd.DataFrame, path: Path) -> None:
    """Accuracies per epoch, on training and test images."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.7), dpi=160, layout="constrained")
        axes = figure.add_subplot()
        tidy(axes)
        for name, colour in (("train", SPOT), ("test", ACCENT)):
            values = history[f"{name}_accuracy"]
            axes.plot(history["epoch"], values, "o-", ms=3, color=colour, label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="accuracy, %")
        axes.legend(frameon=False)
        figure.savefig(path)
