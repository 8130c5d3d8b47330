"""Pictures of the data: what became of every row, and of every prompt on the way to pairs."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from ..data_facts import Yield
from ..formatting import count, percent, words
from ..funnel import Step
from .canvas import ACCENT, FAINT, MUTED, REJECTED, RULE, WIDTH, Picture, bare, blank, inline_svg, write

_ROW_POINTS = 46
_BAR_POINTS = 14


def funnel_picture(steps: Sequence[Step]) -> Picture:
    """One bar a step: rows kept, merged and set aside, all on one scale."""
    height = _ROW_POINTS * len(steps) + 34
    axes = blank(height, left=2, right=2, top=4, bottom=30)
    bare(axes)
    axes.set_ylim(_ROW_POINTS * len(steps), 0)
    axes.set_xlim(0, max(step.given for step in steps) or 1)
    for place, step in enumerate(steps):
        _funnel_row(axes, step, place * _ROW_POINTS)
    _legend(axes, (("kept", ACCENT), ("merged", FAINT), ("set aside", REJECTED)), _ROW_POINTS * len(steps) + 20)
    said = "; ".join(
        f"{step.name}: {_read(step)} in, {count(step.rows_out)} kept, {count(step.merged)} merged, "
        f"{count(step.set_aside)} set aside"
        for step in steps
    )
    return Picture(
        inline_svg(axes, "funnel", f"Bars of what became of the rows. {said}."),
        "What each step read, by what became of it. All bars share one scale.",
    )


def _funnel_row(axes: Axes, step: Step, top: float) -> None:
    right = axes.get_xlim()[1]
    write(axes, 0, top + 13, step.name, va="center")
    write(axes, right, top + 13, f"{count(step.rows_out)} of {_read(step)}", ha="right", va="center", color=MUTED)
    start = 0.0
    for rows, colour in ((step.rows_out, ACCENT), (step.merged, FAINT), (step.set_aside, REJECTED)):
        if rows:
            axes.barh(top + 29, rows, left=start, height=_BAR_POINTS, color=colour, linewidth=0)
        start += rows


def _read(step: Step) -> str:
    """The rows that a step read, and what they gave where that is another number."""
    if step.given == step.rows_in:
        return count(step.rows_in)
    return f"{count(step.given)} from {count(step.rows_in)}"


def _legend(axes: Axes, entries: Sequence[tuple[str, str]], y: float) -> None:
    """Named colour patches in a row below the drawing."""
    unit = axes.get_xlim()[1] / (WIDTH - 4)
    x = 0.0
    for name, colour in entries:
        axes.barh(y, 10 * unit, left=x, height=10, color=colour, clip_on=False, linewidth=0)
        write(axes, x + 15 * unit, y, name, va="center", fontsize=11, color=MUTED)
        x += (34 + 6.2 * len(name)) * unit


def yield_picture(rows: Sequence[Yield]) -> Picture:
    """One bar an outcome: the share of prompts."""
    height = _ROW_POINTS * len(rows) + 8
    axes = blank(height, left=2, right=2, top=4, bottom=4)
    bare(axes)
    axes.set_ylim(_ROW_POINTS * len(rows), 0)
    axes.set_xlim(0, 1)
    for place, row in enumerate(rows):
        top = place * _ROW_POINTS
        colour = ACCENT if row.outcome == "paired" else FAINT
        write(axes, 0, top + 13, words(row.outcome), va="center")
        text = f"{count(row.prompts)} ({percent(row.share)})"
        write(axes, 1, top + 13, text, ha="right", va="center", color=MUTED)
        axes.barh(top + 29, 1, height=_BAR_POINTS, color=RULE, linewidth=0, alpha=0.6)
        axes.barh(top + 29, row.share, height=_BAR_POINTS, color=colour, linewidth=0)
    said = "; ".join(f"{words(row.outcome)}: {count(row.prompts)}, {percent(row.share)}" for row in rows)
    return Picture(
        inline_svg(axes, "pair-yield", f"Bars of what became of the prompts. {said}."),
        "What became of every prompt: paired, or why not.",
    )
