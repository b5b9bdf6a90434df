"""The pictures of a validation: a scatter plot per proxy, and a heat map of rank correlations.

Figures are built without pyplot, so that no window opens and no global state is touched.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zeroshot.ranking import Ensemble, ranks, ratings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, QUIET, FAINT, ACCENT, SPOT = "#1f2933", "#6b7785", "#d8dee5", "#2f6f9f", "#d1495b"

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so a plot looks the same everywhere
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.unicode_minus": True,
}


def scatter(
    scores: pd.DataFrame,
    truth: pd.Series,
    row: pd.Series,
    *,
    by: str | Ensemble | None = None,
    better: str = "higher",
) -> "Figure":
    """Accuracy over the score of one proxy; better scores are always on the right.

    The x axis has the raw scores of a single seed: logarithmic for positive scores that span three
    decades or more, and replaced by the rank where scores are infinite or a few of them would
    squeeze the rest together. Ensembles and several seeds have the rating, a mean rank.

    Accuracies far below the bulk (disconnected networks, say) are drawn as triangles on the
    lower edge, and counted there.

    Args:
        scores: columns `arch`, `seed` and one per proxy.
        truth: accuracies indexed by arch.
        row: the proxy's row of `validate`'s table: its name, and the figures of the title.
        by: the ensemble, if it is not one of `ENSEMBLES`; default the row's name.
        better: direction of the column.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    name = str(row["name"])
    x, label, log = _axis(scores, name, by or name, better)
    y = truth.reindex(x.index).astype(np.float64)
    known = x.notna() & y.notna()
    values, accuracy = x[known].to_numpy(), y[known].to_numpy()
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.7), dpi=160, layout="constrained")
        axes = figure.add_subplot()
        tidy(axes)
        floor = _floor(accuracy)
        low = accuracy < floor
        size = float(np.clip(4000 / max(len(values), 1), 3, 22))
        alpha = float(np.clip(300 / max(len(values), 1), 0.12, 0.6))
        axes.scatter(values[~low], accuracy[~low], s=size, alpha=alpha, color=ACCENT, linewidths=0)
        if low.any():
            edge = np.full(int(low.sum()), floor)
            axes.scatter(
                values[low], edge, s=16, marker="v", color=ACCENT, alpha=max(alpha, 0.25),
                linewidths=0, clip_on=False, zorder=3,
            )  # fmt: skip
            axes.set_ylim(bottom=floor)
            note = f"▾ {int(low.sum())} below {floor:g}"
            axes.text(0.985, 0.045, note, transform=axes.transAxes, ha="right", color=QUIET, size=8)
        if log:
            axes.set_xscale("log")
        if better == "lower" and not label.endswith("rank"):
            axes.invert_xaxis()
        axes.set_xlabel(label, parse_math=False)
        axes.set_ylabel("accuracy")
        head = name if len(name) <= 24 else name[:23] + "…"
        axes.set_title(head, loc="left", fontsize=11, fontweight="bold", pad=8, parse_math=False)
        axes.set_title(_tau(row), loc="right", fontsize=9, color=QUIET, pad=8)
    return figure


def heat_map(correlations: pd.DataFrame) -> "Figure":
    """Rank correlations among proxies, as `rank_correlations` returns them; the accuracy is last.

    Proxies are ordered by their correlation with the accuracy, best first.
    """
    from matplotlib import rc_context
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    last = correlations.columns[-1]
    order = correlations[last].iloc[:-1].sort_values(ascending=False, kind="stable").index
    names = [*order, last]
    matrix = correlations.loc[names, names].to_numpy()
    with rc_context(STYLE):
        side = 1.6 + 0.46 * len(names)
        figure = Figure(figsize=(side + 1.3, side), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        colours = LinearSegmentedColormap.from_list("signed", [SPOT, "#ffffff", ACCENT])
        image = axes.imshow(matrix, cmap=colours.with_extremes(bad="#eef1f4"), vmin=-1, vmax=1)
        for i, j in np.ndindex(matrix.shape):
            value = matrix[i, j]
            colour = "white" if abs(value) > 0.82 else INK
            axes.text(j, i, _short(value), ha="center", va="center", size=8.5, color=colour)
        axes.set_xticks(
            range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor",
            parse_math=False,
        )  # fmt: skip
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.tick_params(length=0, colors=INK)
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            ticks[-1].set_fontweight("bold")
        axes.spines[:].set_visible(False)
        axes.axhline(len(names) - 1.5, color="white", linewidth=3)
        axes.axvline(len(names) - 1.5, color="white", linewidth=3)
        bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=22, pad=0.02)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(length=0)
        bar.set_label("Spearman's ρ", color=QUIET)
    return figure


def pruning(
    history: pd.DataFrame, axes: Sequence[tuple[str, Sequence[str]]], chosen: Sequence[str]
) -> "Figure":
    """Which option went when, axis by axis, and beside it the cell that was chosen.

    Args:
        history: columns round, axis, option and dropped, as `Pruned.history` has them.
        axes: name and options of each. Names such as '0->2' or 'normal 0->2' are edges of a cell
            and drawn; others are in the grid alone.
        chosen: option of each axis. Those that are neither dropped nor chosen lost among the
            finalists.
    """
    from matplotlib import rc_context
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    gone = history[history["dropped"]].set_index(["axis", "option"])["round"]
    shown = {name: [o for o in options if _was_open(history, name, o)] for name, options in axes}
    columns = list(dict.fromkeys(option for options in shown.values() for option in options))
    rounds = int(history["round"].max()) + 1  # the last is the finalists'
    grid = np.full((len(axes), len(columns)), np.nan)
    left: dict[str, str] = {}
    for row, ((name, options), choice) in enumerate(zip(shown.items(), chosen, strict=True)):
        for option in options:
            place = row, columns.index(option)
            grid[place] = gone.get((name, option), rounds)
            if option == choice and (name, option) not in gone.index:
                left[name], grid[place] = option, rounds + 1
    cells: dict[str, list[tuple[int, int, str]]] = {}
    for name, option in left.items():
        edge = re.fullmatch(r"(.*?) ?(\d+)->(\d+)", name)
        if edge:
            cells.setdefault(edge[1], []).append((int(edge[2]), int(edge[3]), option))
    with rc_context(STYLE):
        height = max(2.6 + 0.34 * len(axes), 3.4 * max(1, len(cells)))
        figure = Figure(figsize=(5.4 + 5.2 * bool(cells), height), dpi=150, layout="constrained")
        parts = figure.add_gridspec(max(1, len(cells)), 1 + bool(cells))
        table = figure.add_subplot(parts[:, 0])
        shades = LinearSegmentedColormap.from_list("rounds", ["#f3f5f7", "#a9c6da"])
        table.imshow(
            np.where(grid > rounds, np.nan, grid),
            cmap=shades.with_extremes(bad="white"),
            aspect="auto",
            vmin=0,
            vmax=rounds,
        )
        for (row, column), value in np.ndenumerate(grid):
            kept = value > rounds
            if not np.isnan(value):
                words = "kept" if kept else "last" if value == rounds else f"{value:.0f}"
                table.text(
                    column, row, words, ha="center", va="center", fontsize=9,
                    color="white" if kept else INK,
                    bbox={"boxstyle": "round", "fc": ACCENT, "ec": "none"} if kept else None,
                )  # fmt: skip
        table.set_xticks(range(len(columns)), columns, rotation=30, ha="right", color=INK)
        table.set_yticks(range(len(axes)), [name.replace("->", " → ") for name, _ in axes])
        table.tick_params(length=0)
        table.spines[:].set_visible(False)
        table.set_title("Round in which each option went", loc="left", fontsize=11, weight="bold")
        for place, (cell, edges) in enumerate(cells.items()):
            _draw_cell(figure.add_subplot(parts[place, 1]), edges, cell or "The chosen cell")
    return figure


def _was_open(history: pd.DataFrame, axis: str, option: str) -> bool:
    return bool(((history["axis"] == axis) & (history["option"] == option)).any())


def _draw_cell(axes: Any, edges: list[tuple[int, int, str]], title: str) -> None:
    """Nodes on a line, edges as arcs, the operation at the top of each."""
    from matplotlib.patches import FancyArrowPatch

    nodes = sorted({node for edge in edges for node in edge[:2]})
    for number, (source, target, option) in enumerate(sorted(edges)):
        side = 1 if (number % 2 == 0 or target - source == 1) else -1
        bend = 0.0 if target - source == 1 else side * (0.2 + 0.1 * (target - source))
        quiet = option in ("none", "skip_connect")
        axes.add_patch(
            FancyArrowPatch(
                (source, 0), (target, 0), connectionstyle=f"arc3,rad={-bend}", arrowstyle="-|>",
                mutation_scale=11, shrinkA=13, shrinkB=13, linewidth=1.3,
                color=QUIET if quiet else ACCENT,
            )
        )  # fmt: skip
        # arc3 is a quadratic curve: its top lies half as far off as its control point
        top = bend * (target - source) / 2
        axes.text(
            (source + target) / 2, top + (0.07 if bend >= 0 else -0.07), option, ha="center",
            va="bottom" if bend >= 0 else "top", fontsize=8,
        )  # fmt: skip
    axes.scatter(nodes, [0] * len(nodes), s=420, color="white", edgecolor=INK, zorder=3)
    for node in nodes:
        axes.text(node, 0, str(node), ha="center", va="center", zorder=4)
    axes.set_xlim(nodes[0] - 0.5, nodes[-1] + 0.5)
    axes.set_ylim(-1.3, 1.3)
    axes.set_aspect("equal")  # the height of an arc is relative to its length
    axes.set_axis_off()
    axes.set_title(title, loc="left", fontsize=11, weight="bold")


def _axis(
    scores: pd.DataFrame, name: str, by: str | Ensemble, better: str
) -> tuple[pd.Series, str, bool]:
    """What the x axis shows per architecture, its label, and whether it is logarithmic."""
    if name not in scores.columns:
        return ratings(scores, by), f"{name}, combined ranks", False
    if scores["seed"].nunique() > 1:
        return ratings(scores, name, {name: better}), f"{name}, mean rank", False
    raw = scores.set_index("arch")[name].astype(np.float64)
    arrow = "" if better == "higher" else " (lower is better)"
    values = raw.dropna().to_numpy()
    if len(values) == 0:
        return raw, name + arrow, False
    if np.isfinite(values).all():
        if values.min() > 0 and values.max() / values.min() >= 1e3:
            return raw, name + arrow, True
        low, high = np.percentile(values, [5, 95])
        if values.max() - values.min() <= 6 * (high - low) or values.min() == values.max():
            return raw, name + arrow, False
    return pd.Series(ranks(raw, better), index=raw.index).where(raw.notna()), f"{name}, rank", False


def _floor(accuracy: np.ndarray) -> float:
    """Where the y axis ends so that outliers below do not flatten the rest; −inf for no such."""
    if len(accuracy) < 20:
        return -np.inf
    low, high = np.percentile(accuracy, [8, 100])
    edge = low - 0.6 * (high - low)
    return float(np.floor(edge)) if high > 1.5 else float(np.floor(100 * edge) / 100)


def _short(value: float) -> str:
    if np.isnan(value):
        return "–"
    text = f"{abs(value):.2f}".removeprefix("0")
    return text if value > 0 or text == ".00" else f"−{text}"


def _tau(row: pd.Series) -> str:
    if np.isnan(row["kendall"]):
        return "τ undefined"
    interval = f"[{row['kendall_lo']:.2f}, {row['kendall_hi']:.2f}]"
    return f"τ = {row['kendall']:.2f}  {interval}".replace("-", "−")


def tidy(axes: Any) -> None:
    """Take away what a plot does not need."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
