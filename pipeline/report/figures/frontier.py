"""Wish against language: what models gain by a judge over what their answers cost, with intervals both ways."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from matplotlib.axes import Axes

from ..formatting import interval, is_share, measure, shortened
from .canvas import ACCENT, CHOSEN, FAINT, INK, MUTED, Picture, blank, horizontal_label, inline_svg

_HEIGHT: Final = 290
_LABEL_CHARACTERS: Final = 24


class Point(NamedTuple):
    """One model, or one setting.

    Attributes:
        label: Its name.
        cost: What its answers cost, where 0 is the baseline.
        cost_low: Lower end of the cost's interval; None where there is none.
        cost_high: Upper end.
        gain: What the judge says.
        gain_low: Lower end of its interval; None where there is none.
        gain_high: Upper end.
        on_frontier: Whether no other gains as much for less.
        chosen: Whether it is the one to point out.
    """

    label: str
    cost: float
    cost_low: float | None
    cost_high: float | None
    gain: float
    gain_low: float | None
    gain_high: float | None
    on_frontier: bool = False
    chosen: bool = False


class Scale(NamedTuple):
    """An axis.

    Attributes:
        label: What runs along it.
        unit: Its unit, as metrics say it.
        even: Where neither model is better, or nothing is paid; None for no line.
    """

    label: str
    unit: str
    even: float | None


def frontier_picture(name: str, points: Sequence[Point], *, cost: Scale, gain: Scale, caption: str) -> Picture:
    """Dots with crossed intervals, the frontier as a line, the chosen one filled and named.

    Args:
        name: Unique on the page.
        points: At least one.
        cost: What runs along the bottom: left is cheaper.
        gain: What runs up: higher is better.
        caption: What the picture shows.
    """
    axes = blank(_HEIGHT, left=50, top=30, bottom=44)
    if cost.even is not None:
        axes.axvline(cost.even, color=FAINT, linewidth=1.2)
    if gain.even is not None:
        axes.axhline(gain.even, color=FAINT, linewidth=1.5, linestyle=(0, (3, 2)))
    line = sorted((point for point in points if point.on_frontier), key=lambda point: point.cost)
    if len(line) > 1:
        axes.plot([p.cost for p in line], [p.gain for p in line], color=MUTED, linewidth=1.2, alpha=0.7)
    for point in sorted(points, key=lambda point: (point.chosen, point.on_frontier)):
        _dot(axes, point)
    axes.margins(x=0.12, y=0.14)
    _ticks(axes, cost, gain)
    _names(axes, points)
    said = "; ".join(
        f"{point.label}: {gain.label} {_told(point.gain, point.gain_low, point.gain_high, gain.unit)}, {cost.label} "
        f"{_told(point.cost, point.cost_low, point.cost_high, cost.unit)}"
        for point in points
    )
    return Picture(inline_svg(axes, name, f"{caption} {said}."), caption)


def _dot(axes: Axes, point: Point) -> None:
    colour = CHOSEN if point.chosen else ACCENT if point.on_frontier else MUTED
    if point.cost_low is not None and point.cost_high is not None:
        axes.plot([point.cost_low, point.cost_high], [point.gain] * 2, color=colour, linewidth=2, alpha=0.4)
    if point.gain_low is not None and point.gain_high is not None:
        axes.plot([point.cost] * 2, [point.gain_low, point.gain_high], color=colour, linewidth=2, alpha=0.4)
    size = 10 if point.chosen else 7
    axes.plot([point.cost], [point.gain], marker="o", markersize=size, color=colour, markeredgewidth=0)


def _ticks(axes: Axes, cost: Scale, gain: Scale) -> None:
    for axis, scale in ((axes.xaxis, cost), (axes.yaxis, gain)):
        if is_share(scale.unit):
            axis.set_major_formatter(lambda value, _: measure(round(value, 4), "share").replace(".0%", "%"))
    axes.locator_params(axis="x", nbins=5)
    axes.locator_params(axis="y", nbins=5)
    horizontal_label(axes, cost.label)
    axes.annotate(
        gain.label, (0, 1), xycoords="axes fraction", xytext=(-42, 12), textcoords="offset points",
        color=MUTED, fontsize=11, parse_math=False,
    )  # fmt: skip


def _names(axes: Axes, points: Sequence[Point]) -> None:
    """Names of the chosen one and, where they are few, of all."""
    few = len(points) <= 4
    left, right = axes.get_xlim()
    for point in points:
        if few or point.chosen:
            beyond = point.cost > left + 0.55 * (right - left)
            axes.annotate(
                shortened(point.label, _LABEL_CHARACTERS), (point.cost, point.gain), xytext=(-8 if beyond else 8, 7),
                textcoords="offset points", ha="right" if beyond else "left", fontsize=11,
                color=INK if point.chosen else MUTED, parse_math=False,
            )  # fmt: skip


def _told(value: float, low: float | None, high: float | None, unit: str) -> str:
    return measure(value, unit) + (f" ({interval(low, high, unit)})" if low is not None else "")
