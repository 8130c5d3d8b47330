"""What judges say of sampled answers, and the thumbs-up rate that is predicted from them."""

from typing import Final, NamedTuple

from thumbline.evaluators import Metric

from .evaluation_facts import TRAINED, UNTRAINED, EvaluationFacts
from .formatting import capital, change, counted, difference, measure, model_name, p_value, percent, plural
from .inputs import ReportInputs
from .tones import Statement, Tone, mass, no_interval, told, tone_by_test, tone_of_interval

WINS: Final = "win_rate"
SCORES: Final = "judge_score"
PREDICTED: Final = "predicted_thumbs_up"
_EVEN: Final = 0.5


class Sides(NamedTuple):
    """Whose answers are compared.

    Attributes:
        model: The model that the report is about.
        baseline: What it is held against.
    """

    model: str
    baseline: str


class _Decisive(NamedTuple):
    """The number that a judge's opinion is read from, its test, and where neither side is better."""

    row: Metric
    test: Metric | None
    even: float


def sides(facts: EvaluationFacts) -> Sides:
    """The model that the report is about and its baseline; of a run without scored rows its own two."""
    return Sides(facts.subject or TRAINED, facts.baseline or UNTRAINED)


def judge_names(inputs: ReportInputs, facts: EvaluationFacts) -> tuple[str, ...]:
    """Judges with a number, in the order in which they were stated, whose first decides."""
    named = inputs.judges if inputs.config is None else tuple(judge.called for judge in inputs.config.judges)
    found = dict.fromkeys(
        row.judge for row in facts.rows() if row.judge is not None and row.evaluator in {WINS, SCORES}
    )
    return tuple(sorted(found, key=lambda name: named.index(name) if name in named else len(named)))


def opinion(inputs: ReportInputs, facts: EvaluationFacts, judge: str, *, decides: bool = False) -> Statement | None:
    """What a judge says of the model's answers against the baseline's; None where it compares no two."""
    found = _decisive(facts, judge)
    if found is None:
        return None
    row, test, even = found
    tone = tone_by_test(inputs, row, test, even)
    if tone is None:
        tone = tone_of_interval(row.ci_low, row.ci_high, even) if test is None else "unknown"
    if tone == "better" and length_wins(facts, judge) is not None:
        tone = "length"
    basis = _basis(facts, judge, found)
    return Statement("answers", "Sampled answers", tone, _sentence(inputs, facts, judge, tone, row), basis, decides)


def _decisive(facts: EvaluationFacts, judge: str) -> _Decisive | None:
    """The win rate; where that has no value, the difference of mean scores."""
    model, baseline = sides(facts)
    for evaluator, metric, even in ((WINS, WINS, _EVEN), (SCORES, "score_difference", 0.0)):
        row = facts.find(evaluator, metric, model, baseline, judge)
        if row is not None and row.value is not None:
            return _Decisive(row, facts.find(evaluator, f"{metric}_p", model, baseline, judge), even)
    return None


def _sentence(inputs: ReportInputs, facts: EvaluationFacts, judge: str, tone: Tone, row: Metric) -> str:
    model, baseline = sides(facts)
    name, other = capital(model_name(model)), model_name(baseline)
    better = f"{name} writes better answers than {other}"
    claims: dict[Tone, str] = {
        "better": better,
        "length": better,
        "worse": f"{name} writes worse answers than {other}",
        "same": f"{name} writes answers that are not distinguishable from those of {other}",
    }
    if row.metric == WINS:
        wins = f"{judge} prefers them in {told(inputs, row)}"
        told_scores = _scores(facts, judge)
    else:
        wins, told_scores = f"by {judge}, a difference of {_gap(inputs, row)}", _scores(facts, judge)
    start = claims.get(tone, f"Nothing follows from the answers of {name} and {other}")
    equal = "" if tone != "length" else f"; {_at_equal_length(facts, judge)}"
    return f"{start}: {wins}{told_scores}{equal}."


def length_wins(facts: EvaluationFacts, judge: str) -> tuple[Metric, Metric] | None:
    """The win rate and that at equal length, where the first is surely above a half and the second is not."""
    plain, equal = (facts.find(WINS, name, *sides(facts), judge) for name in ("win_rate", "length_controlled_win_rate"))
    if plain is None or plain.ci_low is None or equal is None or equal.value is None or equal.ci_low is None:
        return None
    return (plain, equal) if plain.ci_low > _EVEN >= equal.ci_low else None


def _at_equal_length(facts: EvaluationFacts, judge: str) -> str:
    found = length_wins(facts, judge)
    assert found is not None, "the tone was read from it"
    return f"at equal length in {percent(found[1].value)}, so length may explain it"


def _gap(inputs: ReportInputs, row: Metric) -> str:
    if row.ci_low is None:
        return f"{change(row.value, row.unit)} ({no_interval(row)})"
    return f"{change(row.value, row.unit)} ({mass(inputs)} {difference(row.ci_low, row.ci_high, row.unit)})"


def _scores(facts: EvaluationFacts, judge: str) -> str:
    """`, with a mean score of 98.3% against 51.9%`, where the judge gives scores."""
    ours, theirs = (facts.find(SCORES, "mean_score", name, None, judge) for name in sides(facts))
    if ours is None or theirs is None or ours.value is None or theirs.value is None:
        return ""
    return f", with a mean score of {measure(ours.value, ours.unit)} against {measure(theirs.value, theirs.unit)}"


def _basis(facts: EvaluationFacts, judge: str, found: _Decisive) -> str:
    """Answers, groups, ties and the exact test."""
    model, baseline = sides(facts)
    row = found.row
    said = f"{plural(row.n, 'sampled answer')} in {plural(row.n_groups, 'prompt group')}; whole groups were resampled"
    ties = facts.find(WINS, "ties", model, baseline, judge)
    if ties is not None and ties.value is not None:
        said += f", a tie ({percent(ties.value)}) counts one half"
    parts = [f"{said}."]
    if found.test is not None and found.test.value is not None:
        text = found.test.reason or "tested"
        parts.append(
            f"{counted(text[0].upper() + text[1:])} (exact test by prompt group: {p_value(found.test.value)})."
        )
    elif found.test is not None and found.test.reason:
        parts.append(f"{found.test.reason[0].upper()}{found.test.reason[1:]}.")
    return " ".join(parts)


def predicted(inputs: ReportInputs, facts: EvaluationFacts) -> Statement | None:
    """The thumbs-up rate that fresh answers are predicted to get, or why there is none; None where none was asked."""
    model, baseline = sides(facts)
    judge = next((row.judge for row in facts.rows() if row.evaluator == PREDICTED and row.metric == "rate"), None)
    gap = facts.find(PREDICTED, "rate_difference", model, baseline, judge)
    title = "Predicted thumbs-up rate"
    if gap is None:
        return None
    if gap.value is None:
        why = (gap.reason or "it was not computed").removeprefix("refused: ")
        return Statement("predicted", title, "unknown", f"None: {why}.")
    test = facts.find(PREDICTED, "rate_difference_p", model, baseline, judge)
    tone = tone_by_test(inputs, gap, test, 0.0) or tone_of_interval(gap.ci_low, gap.ci_high, 0.0)
    ours, theirs = (facts.find(PREDICTED, "rate", name, None, judge) for name in (model, baseline))
    rates = "" if ours is None or theirs is None else f"{percent(ours.value)} against {percent(theirs.value)}, "
    basis = (
        f"{plural(gap.n, 'sampled answer')} in {plural(gap.n_groups, 'prompt group')}; the interval holds the "
        "calibration's own uncertainty."
    )
    return Statement("predicted", title, tone, f"{rates}a difference of {_gap(inputs, gap)}.", basis)


def answer_numbers(inputs: ReportInputs, facts: EvaluationFacts) -> tuple[Metric, ...]:
    """What each judge's opinion rests on, then the predicted rate: the numbers to show in a few lines."""
    found = [_decisive(facts, judge) for judge in judge_names(inputs, facts)]
    model, baseline = sides(facts)
    rates = [row for row in facts.rows() if row.evaluator == PREDICTED and row.metric == "rate_difference"]
    rates = [row for row in rates if (row.model, row.compared_with, row.slice) == (model, baseline, None)]
    return (*(one.row for one in found if one is not None), *rates)
