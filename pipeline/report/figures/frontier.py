"""Wish against language: what models gain by a judge over what their answers cost, with intervals both ways."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from matplotlib.axes import Axes

from ..formatting import interval, is_share, measure, shortened
from .canvas import ACCENT, CHOSEN, FAINT, INK, MUTED, WIDTH, Picture, blank, horizontal_label, inline_svg

_HEIGHT: Final = 290
_LABEL_CHARACTERS: Final = 24
# All names are written where there are no more points than these.
_MOST_NAMED: Final = 4
# Width of a character and height of what stands along the bottom, points.
_CHARACTER: Final = 6.0
_EDGE: Final = 44
_SIDES: Final[tuple[Literal["left", "right"], ...]] = ("left", "right")
# Points above a dot at which its name may stand, the best first.
_HEIGHTS: Final = (12, -12, 26, -26, 40, -40, 54, -54)


class Box(NamedTuple):
    """A part of the figure, in points from its lower left."""

    left: float
    low: float
    right: float
    high: float

    def shared(self, other: "Box") -> float:
        """How much of it another covers, in square points."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.high, other.high) - max(self.low, other.low)
        return max(0.0, width) * max(0.0, height)

    def outside(self) -> float:
        """How much of it lies outside the figure, or over what stands along its edges."""
        whole = (self.right - self.left) * (self.high - self.low)
        return whole - self.shared(Box(0, _EDGE, WIDTH, _HEIGHT - _EDGE / 2))


class Spot(NamedTuple):
    """Where a name may stand: points right of and above its dot, which end of it is there, and what it covers."""

    right: float
    up: float
    side: Literal["left", "right"]
    box: Box


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
    """Names of the chosen one and, where they are few, of all: each where it covers no dot and no other name."""
    few = len(points) <= _MOST_NAMED
    named = sorted((point for point in points if few or point.chosen), key=lambda point: not point.chosen)
    dots = axes.transData.transform([(point.cost, point.gain) for point in points])
    places = {point: (float(x), float(y)) for point, (x, y) in zip(points, dots, strict=True)}
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in places.values()]
    for point in named:
        text = shortened(point.label, _LABEL_CHARACTERS)
        spot = _free_spot(places[point], len(text) * _CHARACTER, taken)
        taken.append(spot.box)
        axes.annotate(
            text, (point.cost, point.gain), xytext=(spot.right, spot.up), textcoords="offset points", ha=spot.side,
            va="center", fontsize=11, color=INK if point.chosen else MUTED, parse_math=False,
        )  # fmt: skip


def _free_spot(place: tuple[float, float], width: float, taken: Sequence[Box]) -> Spot:
    """The nearest spot beside a dot, inside the figure, that covers nothing; else the one that covers least."""
    x, y = place
    spots = []
    for up in _HEIGHTS:
        for side in _SIDES if x < 0.6 * WIDTH else _SIDES[::-1]:
            right = 8 if side == "left" else -8
            start = x + right if side == "left" else x + right - width
            spots.append(Spot(right, up, side, Box(start, y + up - 7, start + width, y + up + 7)))
    return min(spots, key=lambda spot: (spot.box.outside() + sum(map(spot.box.shared, taken)), spots.index(spot)))


def _told(value: float, low: float | None, high: float | None, unit: str) -> str:
    return measure(value, unit) + (f" ({interval(low, high, unit)})" if low is not None else "")
