"""A picture of numbers with intervals over what they cost, a line for each way of getting them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from ..formatting import count, is_share, measure
from .canvas import ACCENT, CHOSEN, FAINT, REJECTED, Picture, blank, horizontal_label, inline_svg, key

_HEIGHT: Final = 260
_COLOURS: Final = (ACCENT, CHOSEN, REJECTED)


class Line(NamedTuple):
    """One line.

    Attributes:
        label: What it is of.
        points: Place, value, and the ends of its interval where it has one.
    """

    label: str
    points: tuple[tuple[float, float, float | None, float | None], ...]


def lines_picture(
    name: str, lines: Sequence[Line], *, unit: str, chance: float | None, label: str, caption: str
) -> Picture:
    """Values with intervals over places, which double from tick to tick.

    Args:
        name: Unique on the page.
        lines: At least one, each with at least one point; no more than there are colours.
        unit: Unit of the values.
        chance: Where a model that knows nothing would stand; None for no line.
        label: What runs along the bottom.
        caption: What the picture shows.
    """
    axes = blank(_HEIGHT, left=56, top=30)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: count(round(value)))
    if is_share(unit):
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    if chance is not None:
        axes.axhline(chance, color=FAINT, linewidth=1.5, linestyle=(0, (3, 2)))
    for line, colour in zip(lines, _COLOURS, strict=False):
        places, values = [point[0] for point in line.points], [point[1] for point in line.points]
        axes.plot(places, values, color=colour, linewidth=1.6, marker="o", markersize=5, markeredgewidth=0)
        for place, _, low, high in line.points:
            if low is not None and high is not None:
                axes.plot([place, place], [low, high], color=colour, linewidth=2.4, alpha=0.4)
    axes.margins(x=0.06, y=0.1)
    horizontal_label(axes, label)
    key(axes, [(line.label, colour) for line, colour in zip(lines, _COLOURS, strict=False)])
    said = "; ".join(
        f"{line.label}: "
        + ", ".join(f"{measure(value, unit)} at {count(round(place))}" for place, value, _, _ in line.points)
        for line in lines
    )
    return Picture(inline_svg(axes, name, f"{caption} {said}."), caption)
