"""The pictures: score and accuracy, rank correlations, cost and quality, what pruning dropped.

Figures are built without pyplot, so that no window opens and no global state is touched.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zeroshot.eval.compare import mean_ratings, ratings_by_seed
from zeroshot.eval.verdict import duration
from zeroshot.ranking import Ensemble, ranks

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


LONGEST = 24  # characters of a name in a picture


def short_names(names: Iterable[object]) -> dict[str, str]:
    """Each name as pictures show it: long ones without their middle, those cut alike numbered."""
    found: dict[str, str] = {}
    for name in map(str, names):
        number, count = 1, ""
        while (shown := _cut(name, LONGEST - len(count)) + count) in found.values():
            number += 1
            count = f" ({number})"
        found[name] = shown
    return found


def _cut(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 9]}…{name[-8:]}"


def quantity(truth: pd.Series) -> str:
    """What the accuracies are called where they are from."""
    return "accuracy" if truth.name is None else str(truth.name)


def scatter(
    scores: pd.DataFrame,
    truth: pd.Series,
    row: pd.Series,
    *,
    by: str | Ensemble | None = None,
    better: Mapping[str, str] | None = None,
    title: str | None = None,
    lower_is_better: bool = False,
) -> "Figure":
    """Accuracy over the score of one proxy; better is always on the right and at the top.

    The x axis has the raw scores of a single seed: logarithmic for positive scores that span three
    decades or more, and replaced by the rank where scores are infinite or a few of them would
    squeeze the rest together. Ensembles and several seeds have the rating that `validate` judges.

    Accuracies far below the bulk (disconnected networks, say) are drawn as triangles on the
    lower edge, and counted there.

    Args:
        scores: columns `arch`, `seed` and one per proxy.
        truth: accuracies indexed by arch.
        row: the proxy's row of `validate`'s table: its name, and the figures of the title.
        by: the ensemble, if it is not one of `ENSEMBLES`; default the row's name.
        better: direction of each column, as given to `validate`.
        title: by default the name, shortened.
        lower_is_better: whether `truth` was negated; the axis shows what was measured.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    name = str(row["name"])
    title = title or short_names([name])[name]
    x, what, log, falling = _axis(scores, name, by or name, better or {})
    y = truth.reindex(x.index).astype(np.float64)
    known = x.notna() & y.notna()
    values, accuracy = x[known].to_numpy(), y[known].to_numpy()
    sign = -1.0 if lower_is_better else 1.0
    with rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.7), dpi=160, layout="constrained")
        axes = figure.add_subplot()
        tidy(axes)
        floor = _floor(accuracy)
        low = accuracy < floor
        size = float(np.clip(4000 / max(len(values), 1), 3, 22))
        alpha = float(np.clip(300 / max(len(values), 1), 0.12, 0.6))
        shown = sign * accuracy[~low]
        axes.scatter(values[~low], shown, s=size, alpha=alpha, color=ACCENT, linewidths=0)
        if lower_is_better:
            axes.invert_yaxis()
        if low.any():
            edge = np.full(int(low.sum()), sign * floor)
            axes.scatter(
                values[low], edge, s=16, marker="v", color=ACCENT, alpha=max(alpha, 0.25),
                linewidths=0, clip_on=False, zorder=3,
            )  # fmt: skip
            axes.set_ylim(bottom=sign * floor)
            side = "above" if lower_is_better else "below"
            note = f"▾ {int(low.sum())} {side} {sign * floor:.4g}"
            axes.text(0.985, 0.045, note, transform=axes.transAxes, ha="right", color=QUIET, size=8)
        if log:
            axes.set_xscale("log")
        if falling:
            axes.invert_xaxis()
        axes.set_xlabel(title + what, parse_math=False)
        unit = short_names([quantity(truth)])[quantity(truth)]
        unit += " (lower is better)" if lower_is_better else ""
        axes.set_ylabel(unit, parse_math=False)
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold", pad=8, parse_math=False)
        axes.set_title(_tau(row), loc="right", fontsize=9, color=QUIET, pad=8)
    return figure


def heat_map(
    correlations: pd.DataFrame, clusters: pd.Series | None = None, *, accuracy: bool = True
) -> "Figure":
    """Rank correlations among proxies, those of a cluster side by side and in a frame.

    Clusters are in the order of their best member's correlation with the accuracy, best first, and
    so are the members of each.

    Args:
        correlations: as `rank_correlations` returns them.
        clusters: number of each proxy's cluster; by default each is on its own.
        accuracy: whether the last column is the accuracy. Without, the given order counts.
    """
    from matplotlib import rc_context
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    names = list(correlations.columns)
    if accuracy:
        by = correlations[names[-1]].iloc[:-1].sort_values(ascending=False, kind="stable")
        names = [*by.index, names[-1]]
    proxies = names[:-1] if accuracy else names
    group = {name: name if clusters is None else clusters[name] for name in proxies}
    groups = list(dict.fromkeys(group.values()))
    proxies = sorted(proxies, key=lambda name: groups.index(group[name]))
    names = [*proxies, *names[len(proxies) :]]
    matrix = correlations.loc[names, names].to_numpy()
    labels = list(short_names(names).values())
    with rc_context(STYLE):
        side = 1.6 + (0.46 if len(names) <= 20 else 0.36) * len(names)
        figure = Figure(figsize=(side + 1.3, side), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        colours = LinearSegmentedColormap.from_list("signed", [SPOT, "#ffffff", ACCENT])
        image = axes.imshow(matrix, cmap=colours.with_extremes(bad="#eef1f4"), vmin=-1, vmax=1)
        for i, j in np.ndindex(matrix.shape):
            value = matrix[i, j]
            colour = "white" if abs(value) > 0.82 else INK
            axes.text(j, i, _short(value), ha="center", va="center", size=8.5, color=colour)
        axes.set_xticks(
            range(len(names)), labels, rotation=45, ha="right", rotation_mode="anchor",
            parse_math=False,
        )  # fmt: skip
        axes.set_yticks(range(len(names)), labels, parse_math=False)
        axes.tick_params(length=0, colors=INK)
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            ticks[-1].set_fontweight("bold" if accuracy else "normal")
        axes.spines[:].set_visible(False)
        if accuracy:
            axes.axhline(len(names) - 1.5, color="white", linewidth=3)
            axes.axvline(len(names) - 1.5, color="white", linewidth=3)
        start = 0
        for number in groups:
            size = sum(group[name] == number for name in proxies)
            if size > 1:
                corner = (start - 0.5, start - 0.5)
                axes.add_patch(Rectangle(corner, size, size, fill=False, ec=INK, lw=1.6, zorder=3))
            start += size
        bar = figure.colorbar(image, ax=axes, shrink=0.5, aspect=22, pad=0.02)
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(length=0)
        bar.set_label("Spearman's ρ", color=QUIET)
    return figure


def pareto(table: pd.DataFrame) -> "Figure":
    """Kendall's τ over seconds per network; the line joins those that no other beats.

    What costs nothing stands at the left edge, beside the logarithmic axis. Names that would cover
    one another are left out, those on the line last.

    Args:
        table: what `validate` returned; rows without seconds or τ are not drawn.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    table = table[table["seconds"].notna() & table["kendall"].notna()]
    cost, quality = table["seconds"].to_numpy(), table["kendall"].to_numpy()
    low, high = _decades(cost)
    free = low - max(0.45, 0.08 * (high - low))  # where what costs nothing stands
    x = np.where(cost > 0, np.log10(np.where(cost > 0, cost, 1)), free)
    front = table["pareto"].to_numpy(bool)
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.4), dpi=160, layout="constrained")
        axes = figure.add_subplot()
        tidy(axes)
        order = np.lexsort((quality, x))
        order = order[front[order]]
        axes.plot(x[order], quality[order], color=ACCENT, linewidth=1.2, alpha=0.6, zorder=1)
        for kind, marker in (("proxy", "o"), ("ensemble", "D"), ("baseline", "s")):
            shown = (table["kind"] == kind).to_numpy()
            axes.scatter(
                x[shown], quality[shown], s=34, marker=marker, linewidths=1.1, zorder=2,
                facecolor=np.where(front[shown], ACCENT, "white"),
                edgecolor=np.where(front[shown], ACCENT, QUIET),
                label=kind if shown.any() else None,
            )  # fmt: skip
        ticks = [place for place in _TICKS if low - 0.05 <= place <= high + 0.05]
        if high - low > 2.5:  # there is no room for more than the decades
            ticks = [place for place in ticks if place == round(place)]
        none = [free] * bool((cost == 0).any())
        labels = [*(["0"] if none else []), *(duration(10.0**place) for place in ticks)]
        axes.set_xticks([*none, *ticks], labels)
        axes.set_xlim(min([*none, low]) - 0.12, high + 0.35)
        axes.margins(y=0.12)
        axes.set_xlabel("time per network")
        axes.set_ylabel("Kendall's τ")
        axes.legend(
            loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False,
            handletextpad=0.1, borderaxespad=0,
        )  # fmt: skip
        figure.draw_without_rendering()
        names = list(short_names(table["name"]).values())
        priority = np.lexsort((-quality, ~front))
        points = [(float(x[i]), float(quality[i]), names[i], bool(front[i])) for i in priority]
        _name_points(axes, points)
    return figure


_TICKS = [decade + step for decade in range(-6, 5) for step in np.log10([1.0, 2.0, 5.0])]


def _decades(cost: np.ndarray) -> tuple[float, float]:
    """The ends of the logarithmic axis, at least a factor of four apart."""
    spent = np.log10(cost[cost > 0]) if (cost > 0).any() else np.zeros(1)
    low, high = float(spent.min()), float(spent.max())
    spare = max(0.0, 0.6 - (high - low)) / 2
    return low - spare, high + spare


def _name_points(axes: Any, points: Sequence[tuple[float, float, str, bool]]) -> None:
    """Write the name beside each point where there is room, in the order of the points."""
    from matplotlib.transforms import Bbox

    centres = axes.transData.transform([point[:2] for point in points])
    taken = [Bbox([centre - 5, centre + 5]) for centre in centres]
    sides = ((6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom"),
             (0, -6, "center", "top"))  # fmt: skip
    for x, y, text, best in points:
        for right, up, across, along in sides:
            label = axes.annotate(
                text, (x, y), (right, up), textcoords="offset points", ha=across, va=along,
                fontsize=8, color=INK if best else QUIET, weight="bold" if best else "normal",
                parse_math=False,
            )  # fmt: skip
            label.set_in_layout(False)
            box = label.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.figure.bbox.x1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            label.remove()


def pruning(
    history: pd.DataFrame, axes: Sequence[tuple[str, Sequence[str]]], chosen: Sequence[str]
) -> "Figure":
    """Which option went when, axis by axis, and beside it the cell that was chosen.

    Args:
        history: columns round, axis, option and dropped, as `Pruned.history` has them.
        axes: name and options of each. Names such as '0->2' or 'normal 0->2' are edges of a cell
            and drawn; others are in the grid alone.
        chosen: option of each axis. Those that are neither dropped nor chosen lost among the
            finalists. Of an axis that no round looked at, the chosen one alone is shown.
    """
    from matplotlib import rc_context
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    gone = history[history["dropped"]].set_index(["axis", "option"])["round"]
    seen = set(history["axis"])
    shown = {
        name: [o for o in options if _was_open(history, name, o)] if name in seen else [choice]
        for (name, options), choice in zip(axes, chosen, strict=True)
    }
    columns = list(dict.fromkeys(option for options in shown.values() for option in options))
    rounds = 1 + max(history["round"], default=0)  # the last is the finalists'
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
    scores: pd.DataFrame, name: str, by: str | Ensemble, better: Mapping[str, str]
) -> tuple[pd.Series, str, bool, bool]:
    """What the x axis shows, its label after the name; whether it is logarithmic, and falling."""
    combined = name not in scores.columns
    if combined or scores["seed"].nunique() > 1:
        entry = by if combined else name
        rated = mean_ratings(ratings_by_seed(scores, (entry,), better))[str(entry)]
        return rated, ", combined ranks" if combined else ", mean rank", False, False
    raw = scores.set_index("arch")[name].astype(np.float64)
    falling = better.get(name, "higher") == "lower"
    arrow = " (lower is better)" if falling else ""
    values = raw.dropna().to_numpy()
    if len(values) == 0:
        return raw, arrow, False, falling
    if np.isfinite(values).all():
        if values.min() > 0 and values.max() / values.min() >= 1e3:
            return raw, arrow, True, falling
        low, high = np.percentile(values, [5, 95])
        if values.max() - values.min() <= 6 * (high - low) or values.min() == values.max():
            return raw, arrow, False, falling
    ranked = pd.Series(ranks(raw, better.get(name, "higher")), index=raw.index)
    return ranked.where(raw.notna()), ", rank", False, False


def _floor(accuracy: np.ndarray) -> float:
    """Where the y axis ends so that outliers below do not flatten the rest; −inf for no such."""
    if len(accuracy) < 20:
        return -np.inf
    low, high = np.percentile(accuracy, [8, 100])
    if low == high:
        return -np.inf
    step = 10.0 ** np.floor(np.log10(high - low) - 1)  # so that it is a round number
    return float(np.floor((low - 0.6 * (high - low)) / step) * step)


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
