"""Predicted against observed thumbs-up rates of held-out answers."""

from collections.abc import Sequence

from ..answers_facts import RateBin
from ..formatting import count, percent
from .canvas import ACCENT, FAINT, Picture, blank, horizontal_label, inline_svg

_HEIGHT = 270


def rates_picture(bins: Sequence[RateBin]) -> Picture:
    """The observed rate over the predicted one, a dot a tenth of the answers; a calibrated model lies on the diagonal.

    Args:
        bins: At least one, in order of the predicted rate.
    """
    axes = blank(_HEIGHT, left=50, top=16)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.5, linestyle=(0, (3, 2)))
    predicted, observed = [one.predicted for one in bins], [one.observed for one in bins]
    axes.plot(predicted, observed, color=ACCENT, linewidth=1.2, marker="o", markersize=6)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.03, 1.03)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    horizontal_label(axes, "predicted thumbs-up rate")
    answers = sum(one.answers for one in bins)
    caption = (
        f"Observed thumbs-up rate of {count(answers)} test answers over the one that the thumbs model predicts, in "
        "bins of as many answers. On the dashed line the prediction holds."
    )
    said = "; ".join(
        f"predicted {percent(one.predicted)}, observed {percent(one.observed)}, {count(one.answers)} answers"
        for one in bins
    )
    return Picture(inline_svg(axes, "rates", f"{caption} {said}."), caption)
