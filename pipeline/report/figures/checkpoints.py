"""A headline number over the checkpoints of one training, with its interval at each."""

from ..evaluation_parts import CheckpointCurve
from ..formatting import count, interval, is_share, measure
from .canvas import ACCENT, FAINT, Picture, blank, horizontal_label, inline_svg

_HEIGHT = 240


def checkpoint_picture(name: str, curve: CheckpointCurve) -> Picture:
    """The number over the steps.

    Args:
        name: Unique on the page.
        curve: At least two checkpoints.
    """
    axes = blank(_HEIGHT, left=56, top=16)
    unit = curve.points[0][1].unit
    if curve.headline.chance is not None:
        axes.axhline(curve.headline.chance, color=FAINT, linewidth=1.5, linestyle=(0, (3, 2)))
    for step, row in curve.points:
        if row.ci_low is not None and row.ci_high is not None:
            axes.plot([step, step], [row.ci_low, row.ci_high], color=ACCENT, linewidth=3, alpha=0.35)
    steps = [step for step, _ in curve.points]
    axes.plot(
        steps, [row.value or 0.0 for _, row in curve.points], color=ACCENT, linewidth=1.6, marker="o", markersize=6
    )
    axes.margins(x=0.05, y=0.1)
    axes.locator_params(axis="x", integer=True, nbins=6)
    axes.locator_params(axis="y", nbins=5)
    if is_share(unit):
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    horizontal_label(axes, "step of the checkpoint")
    caption = f"{curve.headline.title} over checkpoints. Bars are intervals; the best of several is high by chance too."
    said = "; ".join(
        f"step {count(step)}: {measure(row.value, unit)}, interval {interval(row.ci_low, row.ci_high, unit)}"
        for step, row in curve.points
    )
    return Picture(inline_svg(axes, name, f"{caption} {said}."), caption)
