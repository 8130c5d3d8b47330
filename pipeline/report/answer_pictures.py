"""Pictures of sampled answers: win rates by judge, and what was gained over what was paid."""

from typing import Final

from thumbline.evaluators import FrontierPoint, cheapest_surely_better, frontier, frontier_points

from .evaluation_facts import EvaluationFacts
from .figures.canvas import Picture
from .figures.evaluation import Dot, dot_picture
from .figures.frontier import Point, Scale, frontier_picture
from .formatting import count
from .inputs import ReportInputs
from .judges import WINS, judge_names, sides
from .price import limits, reference_name

_EVEN: Final = 0.5
PAID: Final = Scale("more nats a token under the untrained model", "share", 0.0)


def wins_picture(name: str, inputs: ReportInputs, facts: EvaluationFacts) -> Picture | None:
    """The win rate by each judge, the one that decides first; None where there is none."""
    model, baseline = sides(facts)
    names = judge_names(inputs, facts)
    rows = [(judge, facts.find(WINS, WINS, model, baseline, judge)) for judge in names]
    dots = [
        Dot(judge, row.value, row.ci_low, row.ci_high, judge == names[0])
        for judge, row in rows
        if row is not None and row.value is not None
    ]
    if not dots:
        return None
    caption = f"Share of answers of {model} that each judge prefers over those of {baseline}; a tie counts one half."
    return dot_picture(name, dots, unit="share", chance=_EVEN, caption=caption)


def price_picture(inputs: ReportInputs, facts: EvaluationFacts) -> Picture | None:
    """Win rate by the first judge over the nats a token that it costs; None where either is not known."""
    frame, names, baseline = inputs.table("metrics"), judge_names(inputs, facts), sides(facts).baseline
    if frame is None or not names:
        return None
    points = frontier_points(frame, names[0], baseline, limits(inputs).most_broken)
    line, best = frontier(points), cheapest_surely_better(points, inputs.confidence)
    drawn = [point(one, on_frontier=one in line, chosen=one is best) for one in points if one.paid is not None]
    if not drawn:
        return None
    caption = (
        f"What was gained over what was paid: the win rate by {names[0]}, over the nats a token that answers take more "
        f"under {reference_name(inputs, facts)}. Up and left is better."
    )
    caption += "" if best is None else f" The cheapest that is surely better: {best.model}."
    return frontier_picture(
        "price", [Point(baseline, 0.0, None, None, _EVEN, None, None), *drawn],
        cost=PAID._replace(label=f"more nats a token under {reference_name(inputs, facts)}"),
        gain=Scale(f"win rate by {names[0]}", "share", _EVEN), caption=caption,
    )  # fmt: skip


def steps_picture(inputs: ReportInputs) -> Picture | None:
    """The same between the steps of a training that its answers chose from; None where they did not."""
    manifest = inputs.manifests.get("train")
    found = None if manifest is None else manifest.notes.get("frontier")
    if not found or not found["points"]:
        return None
    points = [
        FrontierPoint(**{name: row[name] for name in FrontierPoint._fields} | {"broken": tuple(row["broken"])})
        for row in found["points"]
    ]
    line, kept = frontier(points), f"step {found['step']}"
    drawn = [point(one, on_frontier=one in line, chosen=one.model == kept) for one in points if one.paid is not None]
    if not drawn:
        return None
    gain = Scale(f"win rate by {found['judge']}", "share", _EVEN)
    start = Point("untrained", 0.0, None, None, _EVEN, None, None)
    caption = (
        f"What the answers of each validation point to {count(found['prompts'])} prompts of the validation split win "
        f"over what they pay. {found['said'][-1]}"
    )
    return frontier_picture("steps", [start, *drawn], cost=PAID, gain=gain, caption=caption)


def point(one: FrontierPoint, *, on_frontier: bool, chosen: bool) -> Point:
    """A dot of the picture."""
    return Point(
        one.model, one.paid or 0.0, one.paid_low, one.paid_high, one.won or 0.0, one.won_low, one.won_high,
        on_frontier, chosen,
    )  # fmt: skip
