"""Pictures of sampled answers: win rates by judge, and what was gained over what was paid."""

from thumbline.evaluators import Metric

from .evaluation_facts import EvaluationFacts
from .figures.canvas import Picture
from .figures.evaluation import Dot, dot_picture
from .figures.frontier import Point, Scale, frontier_picture
from .inputs import ReportInputs
from .judges import WINS, judge_names, sides
from .price import STRANGER, TEXT

_EVEN = 0.5


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
    model, baseline = sides(facts)
    names = judge_names(inputs, facts)
    rows = facts.rows() if names else ()
    paid = {row.model: row for row in rows if (row.evaluator, row.metric, row.slice) == (TEXT, STRANGER, None)}
    won = {
        row.model: row
        for row in rows
        if (row.evaluator, row.metric, row.slice, row.judge, row.compared_with)
        == (WINS, WINS, None, names[0], baseline)
    }
    points = [
        _point(name, cost, won[name], name == model)
        for name, cost in paid.items()
        if name in won and cost.compared_with == baseline and cost.value is not None and won[name].value is not None
    ]
    if not points:
        return None
    start = Point(baseline, 0.0, None, None, _EVEN, None, None)
    caption = (
        f"What was gained over what was paid: the win rate by {names[0]}, over the nats a token that answers take more "
        "under the untrained model. Up and left is better."
    )
    return frontier_picture(
        "price",
        [start, *points],
        cost=Scale("more nats a token under the untrained model", "share", 0.0),
        gain=Scale(f"win rate by {names[0]}", "share", _EVEN),
        caption=caption,
    )


def _point(name: str, cost: Metric, won: Metric, main: bool) -> Point:
    low, high = (None if end is None else end - 1.0 for end in (cost.ci_low, cost.ci_high))
    return Point(
        name,
        (cost.value or 1.0) - 1.0,
        low,
        high,
        won.value or 0.0,
        won.ci_low,
        won.ci_high,
        on_frontier=main,
        chosen=main,
    )
