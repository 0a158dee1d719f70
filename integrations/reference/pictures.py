"""Pictures: the figures of the pipeline's reports, drawn from plain values and given as PNG bytes.

Every function takes numbers, lists and dictionaries and returns one PNG on a white card, so that it can be read on
light and dark pages. Nothing is measured here. Matplotlib is imported when the first picture is drawn, and needs no
display; colours are those of Okabe and Ito, which people with colour-blindness can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

BLUE, ORANGE, GREEN, RED, GREY, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#5F6368", "#56B4E9"
_CYCLE = (BLUE, ORANGE, GREEN, RED, SKY, "#CC79A7", GREY)
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "text.color": "#202124",
    "axes.labelcolor": "#202124",
    "legend.frameon": False,
}
_SOFTWARE = {"Software": None}  # no version in the file, so that equal values give equal bytes


@contextmanager
def _drawing() -> Iterator[Any]:
    """Matplotlib's figure class, drawn in memory (Agg), without global state left behind."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        yield Figure


def _png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130, bbox_inches="tight", pad_inches=0.2, metadata=_SOFTWARE)
    return content.getvalue()


def _table(axes: Any, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    axes.axis("off")
    table = axes.table(cellText=[list(row) for row in rows], colLabels=list(head), loc="center", cellLoc="right")
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.scale(1, 1.35)
    table.auto_set_column_width(list(range(len(head))))
    for (row, column), cell in table.get_celld().items():
        cell.set_edgecolor("#D0D0D0")
        cell.set_facecolor("#F1F3F4" if row == 0 else "white")
        if row == 0:
            cell.get_text().set_weight("bold")
        if column == 0:
            cell.get_text().set_ha("left")


def _named(axes: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """Names beside points, those in the right half to the left, stepped apart where they would touch."""
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    last = -np.inf
    for x, y, name in sorted(points, key=lambda point: point[1]):
        place = max(y, last + (high - low) * 0.045)
        last = place
        before = x > (left + right) / 2
        axes.annotate(
            name,
            (x, y),
            xytext=(x + (right - left) * (-0.015 if before else 0.015), place),
            ha="right" if before else "left",
            va="center",
            fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
            arrowprops={"arrowstyle": "-", "color": "#B0B0B0", "lw": 0.6} if place != y else None,
        )


def augmentation_table(
    rows: Sequence[Mapping[str, Any]], *, title: str = "Augmentations", metric: str = "accuracy", chosen: str = ""
) -> bytes:
    """Gain against training time, beside the table.

    A row: ``method``, ``gain`` (of the metric against no augmentation), ``gain_error`` (half the 95 % interval),
    ``time_change`` (share of the training time without it, 0.1 is 10 % more).
    """
    ranked = sorted(rows, key=lambda row: -row["gain"])
    with _drawing() as figure_class:
        figure = figure_class(figsize=(11, max(4.2, 0.36 * len(rows) + 1.6)))
        axes, side = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.5, 1]})
        for row in ranked:
            colour = GREEN if row["method"] == chosen else BLUE
            axes.errorbar(
                100 * row["time_change"], row["gain"], yerr=row["gain_error"], fmt="o", color=colour, capsize=3
            )
        axes.axhline(0, color=GREY, lw=1)
        axes.margins(0.15)
        _named(axes, [(100 * row["time_change"], row["gain"], row["method"]) for row in ranked])
        axes.set(xlabel="training time against none (%)", ylabel=f"gain in {metric}, 95 % interval", title=title)
        cells = [
            (row["method"], f"{row['gain']:+.3f} ± {row['gain_error']:.3f}", f"{100 * row['time_change']:+.0f} %")
            for row in ranked
        ]
        _table(side, ("method", "gain", "time"), cells)
        return _png(figure)


def optimisation_matrix(rows: Sequence[Mapping[str, Any]], *, title: str = "Optimisation matrix") -> bytes:
    """A heat map of techniques by measures, each cell against the first row (the reference), with the value in it.

    A row: ``technique``, then any number of measures. A measure's key may end in a unit, such as ``memory_mb``.
    Colours say by what factor a value is below (purple) or above (orange) the reference; they judge nothing.
    """
    measures = [key for key in rows[0] if key != "technique"]
    values = np.array([[float(row[key]) for key in measures] for row in rows])
    reference = np.where(np.abs(values[0]) > 1e-12, np.abs(values[0]), 1)
    ratio = np.maximum(1 + (values - values[0]) / reference, 1e-9)
    change = np.clip(np.log2(ratio), -1, 1)
    with _drawing() as figure_class:
        figure = figure_class(figsize=(2.2 + 1.75 * len(measures), 1.5 + 0.5 * len(rows)))
        axes = figure.subplots()
        image = axes.imshow(change, cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
        axes.set_xticks(range(len(measures)), [measure.replace("_", " ") for measure in measures])
        axes.set_yticks(range(len(rows)), [row["technique"] for row in rows])
        axes.tick_params(length=0)
        axes.grid(visible=False)
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if abs(change[row, column]) > 0.5 else "#202124"
            axes.text(column, row, f"{value:.4g}", ha="center", va="center", color=colour, fontsize=9)
        axes.set_title(title)
        bar = figure.colorbar(image, ax=axes, pad=0.02, ticks=[-1, 0, 1])
        bar.ax.set_yticklabels(["half or less", "as the first", "double or more"])
        return _png(figure)


def map_overlays(
    pictures: npt.NDArray[np.float32],
    maps: npt.NDArray[np.float32],
    names: Sequence[str],
    *,
    regions: npt.NDArray[np.bool_] | None = None,
    title: str = "Where the network looks",
) -> bytes:
    """Pictures (n, rows, columns) or volumes (n, slices, rows, columns) above the same with the map of an explanation.

    Of a volume the slice with the most of the region is shown, or where the map is strongest without one. The outline
    of an expert's region is green. Values and maps go from 0 to 1.
    """
    if pictures.ndim == 4:
        by = maps if regions is None else regions.astype(np.float32)
        best = by.sum(axis=(2, 3)).argmax(axis=1)
        each = np.arange(len(pictures))
        pictures, maps = pictures[each, best], maps[each, best]
        regions = None if regions is None else regions[each, best]
    with _drawing() as figure_class:
        figure = figure_class(figsize=(1.7 * len(pictures) + 1.2, 4.1), layout="constrained")
        axes = figure.subplots(2, len(pictures), squeeze=False)
        for place, name in enumerate(names):
            for row in (0, 1):
                one = axes[row, place]
                one.imshow(pictures[place], cmap="gray", vmin=0, vmax=1)
                one.set_xticks([])
                one.set_yticks([])
                if regions is not None and regions[place].any():
                    one.contour(regions[place], levels=[0.5], colors=GREEN, linewidths=1.6)
            shown = axes[1, place].imshow(maps[place], cmap="inferno", alpha=0.55, vmin=0, vmax=1)
            axes[0, place].set_title(name, fontsize=9, weight="normal", loc="center")
        axes[0, 0].set_ylabel("picture")
        axes[1, 0].set_ylabel("with map")
        figure.colorbar(shown, ax=axes, shrink=0.7, pad=0.02, label="share of the strongest point")
        figure.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=12)
        return _png(figure)


def drift_chart(
    weeks: Sequence[float],
    features: Mapping[str, Sequence[float]],
    *,
    threshold: float,
    declared: Sequence[float] = (),
    statistic: str = "PSI",
    title: str = "Drift by week",
) -> bytes:
    """The drift statistic of every feature over the weeks, with its threshold; declared weeks are shaded."""
    with _drawing() as figure_class:
        figure = figure_class(figsize=(10, 4.6))
        axes = figure.subplots()
        for number, week in enumerate(declared):
            label = "disturbance declared" if number == 0 else None
            axes.axvspan(week - 0.5, week + 0.5, color="#F6E3C5", lw=0, label=label)
        for place, (name, values) in enumerate(features.items()):
            axes.plot(weeks, values, marker="o", ms=3.5, lw=1.5, color=_CYCLE[place % len(_CYCLE)], label=name)
        axes.axhline(threshold, color=RED, ls="--", lw=1.4, label=f"threshold {threshold:g}")
        greatest = max((max(values) for values in features.values() if len(values)), default=threshold)
        if greatest > 4 * threshold:
            axes.set_yscale("symlog", linthresh=threshold)
            axes.yaxis.set_major_formatter("{x:g}")
            axes.set_ylabel(f"{statistic} (linear up to the threshold, then logarithmic)")
        else:
            axes.set_ylabel(statistic)
        axes.set_ylim(bottom=0)
        axes.set(xlabel="week of the calendar", title=title)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
        return _png(figure)


def pareto_front(
    points: Sequence[Mapping[str, Any]],
    *,
    cost: str,
    quality: str,
    chosen: str = "",
    title: str = "Cost and quality",
) -> bytes:
    """Every point by cost (less is better) and quality (more is better); those that no other beats are joined.

    A point: ``name``, and the two keys named by ``cost`` and ``quality``.
    """
    front, best = [], -np.inf
    for point in sorted(points, key=lambda one: (one[cost], -one[quality])):
        if point[quality] > best:
            front.append(point)
            best = point[quality]
    with _drawing() as figure_class:
        figure = figure_class(figsize=(8, 4.8))
        axes = figure.subplots()
        axes.scatter([p[cost] for p in points], [p[quality] for p in points], s=26, color=SKY, label="tried")
        costs, qualities = [p[cost] for p in front], [p[quality] for p in front]
        axes.plot(costs, qualities, "o-", color=BLUE, drawstyle="steps-post", label="no other is better in both")
        for point in points:
            if chosen and point["name"] == chosen:
                axes.scatter(point[cost], point[quality], s=150, marker="*", color=RED, zorder=4, label="chosen")
        if min(costs) > 0 and max(p[cost] for p in points) > 30 * min(costs):
            axes.set_xscale("log")
        else:
            axes.margins(0.12)
            _named(axes, [(p[cost], p[quality], p["name"]) for p in front])
        axes.set(xlabel=cost.replace("_", " "), ylabel=quality.replace("_", " "), title=title)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=9)
        return _png(figure)


def canary_decision(
    requests: Sequence[float],
    evidence: Sequence[float],
    *,
    bound: float,
    harmless: Sequence[float] | None = None,
    decision: str = "",
    title: str = "Canary",
) -> bytes:
    """The e-process of a canary over its requests, on a logarithmic axis, with the bound that stops the release.

    ``evidence`` is the e-value that the candidate errs more than the champion; ``bound`` is 1 / alpha. ``harmless``,
    when given, is the e-value that it does not. ``decision`` is a short text put at the end of the line.
    """
    with _drawing() as figure_class:
        figure = figure_class(figsize=(9, 4.4))
        axes = figure.subplots()
        axes.plot(requests, np.maximum(evidence, 1e-12), color=BLUE, lw=1.8, label="e-value: candidate is worse")
        if harmless is not None:
            axes.plot(
                requests, np.maximum(harmless, 1e-12), color=GREEN, lw=1.8, label="e-value: candidate is no worse"
            )
        axes.axhline(bound, color=RED, ls="--", lw=1.4, label=f"bound {bound:g} (alpha {1 / bound:g})")
        axes.axhline(1, color=GREY, lw=1)
        axes.set_yscale("log")
        if decision:
            axes.annotate(
                decision,
                (requests[-1], max(evidence[-1], 1e-12)),
                xytext=(-8, -16),
                textcoords="offset points",
                ha="right",
                weight="bold",
                bbox={"facecolor": "white", "edgecolor": GREY, "pad": 3},
            )
        axes.set(xlabel="requests answered by the candidate", ylabel="e-value (log)", title=title)
        axes.legend(loc="best", fontsize=9)
        return _png(figure)


def learning_curve(
    history: Sequence[Mapping[str, float]], *, best_epoch: int = 0, title: str = "Learning curve"
) -> bytes:
    """Training and validation loss by epoch. A row of the history: ``train_loss``, ``validation_loss``."""
    epochs = range(1, len(history) + 1)
    with _drawing() as figure_class:
        figure = figure_class(figsize=(7.5, 4.2))
        axes = figure.subplots()
        axes.plot(epochs, [row["train_loss"] for row in history], "o-", ms=4, color=BLUE, label="training")
        axes.plot(epochs, [row["validation_loss"] for row in history], "s-", ms=4, color=ORANGE, label="validation")
        if best_epoch:
            axes.axvline(best_epoch, color=GREEN, ls="--", label=f"weights kept (epoch {best_epoch})")
        axes.set(xlabel="epoch", ylabel="cross-entropy (nats)", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        return _png(figure)


def update_comparison(
    weeks: Sequence[float],
    modes: Mapping[str, Sequence[float]],
    *,
    metric: str,
    disturbed: Sequence[float] = (),
    title: str = "Update modes on the same weeks",
) -> bytes:
    """Live quality of each update mode over the weeks, and its mean with the 95 % interval of the mean over weeks."""
    with _drawing() as figure_class:
        figure = figure_class(figsize=(11, 4.2))
        axes, side = figure.subplots(1, 2, gridspec_kw={"width_ratios": [2.2, 1], "wspace": 0.35})
        for week in disturbed:
            axes.axvspan(week - 0.5, week + 0.5, color="#F6E3C5", lw=0)
        for place, (name, values) in enumerate(modes.items()):
            colour = _CYCLE[place % len(_CYCLE)]
            axes.plot(weeks, values, marker="o", ms=4, color=colour, label=name)
            error = 1.96 * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
            side.errorbar(float(np.mean(values)), place, xerr=error, fmt="o", color=colour, capsize=4)
        axes.set(xlabel="week of the calendar", ylabel=metric, title=title)
        axes.legend(loc="best", fontsize=9)
        side.set_yticks(range(len(modes)), list(modes))
        side.invert_yaxis()
        side.margins(0.2)
        side.set(xlabel=f"mean {metric}, 95 % interval over weeks")
        return _png(figure)
