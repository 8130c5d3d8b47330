"""The reliability curve: how often a model is right, over how sure it is."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..evaluation_parts import ReliabilityBin
from ..formatting import count, model_name, percent, shortened
from .canvas import ACCENT, FAINT, MUTED, Picture, blank, horizontal_label, inline_svg, key_lines

_HEIGHT: Final = 300
_NAME_CHARACTERS: Final = 44
# Square points of a bin with the most pairs; the area of a dot is in proportion to its pairs.
_LARGEST_DOT: Final = 150.0
_SMALLEST_DOT: Final = 12.0


def reliability_picture(curves: Sequence[tuple[str, Sequence[ReliabilityBin]]]) -> Picture:
    """Accuracy over confidence, a curve a model, the main one first; calibrated models lie on the diagonal.

    Args:
        curves: Models and their bins; at least one, each with at least one bin.
    """
    axes = blank(_HEIGHT, left=50, top=14 + 16 * len(curves))
    axes.plot([0.5, 1], [0.5, 1], color=FAINT, linewidth=1.5, linestyle=(0, (3, 2)))
    colours = [ACCENT, *[MUTED] * (len(curves) - 1)]
    for (_, bins), colour in reversed(list(zip(curves, colours, strict=True))):
        confidence = [one.confidence.value or 0.0 for one in bins]
        accuracy = [one.accuracy.value or 0.0 for one in bins]
        for one, x in zip(bins, confidence, strict=True):
            if one.accuracy.ci_low is not None and one.accuracy.ci_high is not None:
                axes.plot([x, x], [one.accuracy.ci_low, one.accuracy.ci_high], color=colour, linewidth=2, alpha=0.4)
        axes.plot(confidence, accuracy, color=colour, linewidth=1.2, alpha=0.7)
        axes.scatter(confidence, accuracy, s=_sizes(bins), color=colour, linewidths=0, zorder=3)
    axes.set_xlim(0.485, 1.015)
    axes.set_ylim(-0.03, 1.03)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    horizontal_label(axes, "confidence in the preferred answer")
    names = [(shortened(name, _NAME_CHARACTERS), colour) for (name, _), colour in zip(curves, colours, strict=True)]
    key_lines(axes, names)
    caption = (
        "Reliability: how often the preferred answer is the better one, over the confidence sigma(margin). On the "
        "dashed line a model is as right as it is sure; below it, it is too sure. The area of a dot is its number of "
        "pairs; bars are intervals."
    )
    said = " ".join(_said(name, bins) for name, bins in curves)
    return Picture(inline_svg(axes, "reliability", f"{caption} {said}"), caption)


def _sizes(bins: Sequence[ReliabilityBin]) -> np.ndarray:
    pairs = np.array([one.accuracy.n for one in bins], dtype=np.float64)
    return np.asarray(np.maximum(_SMALLEST_DOT, _LARGEST_DOT * pairs / pairs.max()))


def _said(name: str, bins: Sequence[ReliabilityBin]) -> str:
    parts = (
        f"{percent(one.accuracy.value)} right at confidence {percent(one.confidence.value)}, "
        f"{count(one.accuracy.n)} pairs"
        for one in bins
    )
    return f"{model_name(name)}: {'; '.join(parts)}."
