"""Pictures of the evaluation: dots with intervals, and histograms of rewards and margins."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ..formatting import count, interval, is_share, measure, shortened
from .canvas import ACCENT, FAINT, INK, MUTED, PAPER, Picture, blank, horizontal_label, inline_svg, key, write

_ROW_POINTS: Final = 46
_BINS: Final = 30
# Beside them stand a number and an interval.
_LABEL_CHARACTERS: Final = 26
# Share of rows cut off at each end of a histogram's range: a single outlier would flatten the rest.
_TAIL: Final = 0.005


class Dot(NamedTuple):
    """One number with its interval.

    Attributes:
        label: What it is about.
        value: The number.
        low: Lower end of its interval; None where there is none.
        high: Upper end.
        main: Whether it is about the model that the report is about.
        hollow: Whether it rests on few prompt groups.
    """

    label: str
    value: float
    low: float | None
    high: float | None
    main: bool
    hollow: bool = False


class Sample(NamedTuple):
    """Values of one kind in a histogram."""

    label: str
    values: np.ndarray
    colour: str


def dot_picture(name: str, dots: Sequence[Dot], *, unit: str, chance: float | None, caption: str) -> Picture:
    """A dot and an interval a row, with the value of chance as a vertical line.

    Args:
        name: Unique on the page.
        dots: Rows from top to bottom; at least one.
        unit: Unit of the values.
        chance: Where a model that knows nothing would stand; None for no line.
        caption: What the picture shows.
    """
    height = _ROW_POINTS * len(dots) + 34
    axes = blank(height, left=8, right=8, top=4, bottom=30)
    axes.set_ylim(_ROW_POINTS * len(dots), 0)
    axes.set_xlim(*_range(dots, chance))
    axes.set_yticks([])
    axes.grid(False)
    axes.locator_params(axis="x", nbins=5)
    if is_share(unit):
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    for place, dot in enumerate(dots):
        if chance is not None:
            # Beside the dot only: a line over the whole height would run through the labels.
            ends = (_ROW_POINTS * place + 22, _ROW_POINTS * place + 40)
            axes.plot([chance] * 2, ends, color=FAINT, linewidth=1.5, linestyle=(0, (3, 2)))
        _dot_row(axes, dot, unit, place * _ROW_POINTS)
    said = "; ".join(f"{dot.label}: {measure(dot.value, unit)}, interval {_interval(dot, unit)}" for dot in dots)
    return Picture(inline_svg(axes, name, f"{caption} {said}."), caption)


def _interval(dot: Dot, unit: str) -> str:
    return interval(dot.low, dot.high, unit) if dot.low is not None else "none"


def _dot_row(axes: Axes, dot: Dot, unit: str, top: float) -> None:
    colour = ACCENT if dot.main else MUTED
    left, right = axes.get_xlim()
    weight = "bold" if dot.main else "normal"
    write(axes, left, top + 13, shortened(dot.label, _LABEL_CHARACTERS), va="center", fontweight=weight)
    text = measure(dot.value, unit)
    text += f" ({_interval(dot, unit)})" if dot.low is not None else ""
    write(axes, right, top + 13, text, va="center", ha="right", fontsize=11, color=INK if dot.main else MUTED)
    if dot.low is not None and dot.high is not None:
        axes.plot([dot.low, dot.high], [top + 31] * 2, color=colour, linewidth=3, alpha=0.45, solid_capstyle="round")
    size = 9 if dot.main else 7
    face = PAPER if dot.hollow else colour
    axes.plot(
        [dot.value],
        [top + 31],
        marker="o",
        markersize=size,
        color=colour,
        markerfacecolor=face,
        markeredgewidth=1.6 if dot.hollow else 0,
    )


def _range(dots: Sequence[Dot], chance: float | None) -> tuple[float, float]:
    ends = [end for dot in dots for end in (dot.value, dot.low, dot.high) if end is not None]
    ends += [] if chance is None else [chance]
    room = 0.06 * (max(ends) - min(ends)) or 0.1
    return min(ends) - room, max(ends) + room


def histogram_picture(name: str, samples: Sequence[Sample], *, label: str, caption: str) -> Picture:
    """Overlaid histograms on common bins, each sample's mean as a line.

    Args:
        name: Unique on the page.
        samples: Kinds of rows, at least one, each with at least one value.
        label: What runs along the bottom.
        caption: What the picture shows.
    """
    edges = _edges(np.concatenate([sample.values for sample in samples]))
    axes = blank(250, left=46, top=30)
    axes.axvline(0, color=FAINT, linewidth=1)
    for sample in samples:
        inside = np.clip(sample.values, edges[0], edges[-1])
        heights, _ = np.histogram(inside, bins=edges)
        axes.stairs(heights, edges, fill=True, color=sample.colour, alpha=0.3, linewidth=0)
        axes.stairs(heights, edges, color=sample.colour, linewidth=1.4)
        axes.axvline(float(sample.values.mean()), color=sample.colour, linewidth=1.4, linestyle=(0, (3, 2)))
    axes.locator_params(axis="x", nbins=6)
    axes.locator_params(axis="y", integer=True, nbins=5)
    horizontal_label(axes, label)
    key(axes, [(sample.label, sample.colour) for sample in samples])
    said = "; ".join(
        f"{sample.label}: {count(sample.values.size)} values, mean {measure(float(sample.values.mean()))}, from "
        f"{measure(float(sample.values.min()))} to {measure(float(sample.values.max()))}"
        for sample in samples
    )
    return Picture(inline_svg(axes, name, f"{caption} {said}."), caption)


def _edges(values: np.ndarray) -> np.ndarray:
    low, high = (float(end) for end in np.quantile(values, [_TAIL, 1 - _TAIL]))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _BINS + 1)
