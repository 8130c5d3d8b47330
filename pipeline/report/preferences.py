"""What held-out preferences say: one sentence with its interval, which says plainly when nothing improved."""

from typing import Final, NamedTuple

from thumbline.evaluators import Metric

from .beside import beside
from .evaluation_facts import ACCURACY, AUC, COMPARISON, EvaluationFacts, Headline
from .formatting import capital, counted, difference, measure, model_name, p_value, plural
from .inputs import Missing, ReportInputs
from .length import length_rule
from .tones import Statement, Tone, told, tone_by_test, tone_of_interval

_TITLE: Final = "Held-out preferences"
_IN_ORDER: Final = (ACCURACY, AUC)


class _Evidence(NamedTuple):
    """Where the metrics table says how two models differ in a headline number.

    Attributes:
        evaluator: Who compares them.
        test: The p-value that decides. Rows of one prompt are not independent, so it is one of whole groups.
        chance_test: The p-value that decides where there is one model only, which is held against chance.
        called: What the tests are called.
    """

    evaluator: str
    test: str
    chance_test: str
    called: str


_EVIDENCE: dict[str, _Evidence] = {
    ACCURACY.name: _Evidence(COMPARISON, "sign_flip_p", "chance_p", "exact test by prompt group"),
    AUC.name: _Evidence("unpaired_comparison", "auc_difference_p", "auc_chance_p", "t test"),
}


def preferences(inputs: ReportInputs, facts: EvaluationFacts) -> Statement:
    """What held-out pairs say, or unpaired rows where there are no pairs."""
    headline = headline_of(facts)
    subject = None if headline is None else facts.headline(headline, facts.subject)
    if headline is None or subject is None:
        return Statement("preferences", _TITLE, "unknown", _why_unknown(facts))
    return _judged(inputs, facts, headline, subject)


def headline_of(facts: EvaluationFacts) -> Headline | None:
    """The number that held-out preferences are told by; None where there is none."""
    for headline in _IN_ORDER:
        row = facts.headline(headline, facts.subject)
        if row is not None and row.value is not None:
            return headline
    return None


def _why_unknown(facts: EvaluationFacts) -> str:
    if isinstance(facts.measures, Missing):
        return facts.measures.missing
    reasons = [
        f"{headline.title}: {row.reason}"
        for headline in _IN_ORDER
        if (row := facts.headline(headline, facts.subject)) is not None and row.reason
    ]
    return "Nothing can be said about the model. " + (". ".join(reasons) + "." if reasons else "")


def _judged(inputs: ReportInputs, facts: EvaluationFacts, headline: Headline, subject: Metric) -> Statement:
    baseline = facts.headline(headline, facts.baseline)
    if baseline is None or baseline.value is None:
        chance = headline.chance or 0.0
        test = facts.find(headline.evaluator, _EVIDENCE[headline.name].chance_test, subject.model)
        tone = tone_by_test(inputs, subject, test, chance) or tone_of_interval(subject.ci_low, subject.ci_high, chance)
        claim = _against_chance(inputs, headline, subject, tone)
    else:
        evidence = _EVIDENCE[headline.name]
        gap = facts.find(evidence.evaluator, headline.difference, subject.model, baseline.model)
        test = facts.find(evidence.evaluator, evidence.test, subject.model, baseline.model)
        tone = _tone_of_difference(inputs, subject, baseline, gap, test)
        claim = _against_baseline(inputs, headline, subject, baseline, gap, tone)
    length = length_rule(inputs, facts, headline)
    if tone == "better" and length is not None and length.may_explain(inputs.confidence):
        tone = "length"
    sentence = " ".join(part for part in (claim, beside(inputs, facts, headline, length, tone)) if part)
    basis = _basis(facts, headline, subject)
    return Statement("preferences", _TITLE, tone, sentence, basis, measure=headline.name)


def _tone_of_difference(
    inputs: ReportInputs, subject: Metric, baseline: Metric, gap: Metric | None, test: Metric | None
) -> Tone:
    """From the paired difference; without one, only intervals that do not touch count as different."""
    by_test = None if gap is None else tone_by_test(inputs, gap, test, 0.0)
    if by_test is not None:
        return by_test
    if gap is not None and gap.ci_low is not None:
        return tone_of_interval(gap.ci_low, gap.ci_high, 0.0)
    if subject.ci_low is None or subject.ci_high is None or baseline.ci_low is None or baseline.ci_high is None:
        return "unknown"
    if subject.ci_low > baseline.ci_high:
        return "better"
    return "worse" if subject.ci_high < baseline.ci_low else "same"


def _against_chance(inputs: ReportInputs, headline: Headline, subject: Metric, tone: Tone) -> str:
    chance = f"{100 * (headline.chance or 0.0):g}%"
    ends: dict[Tone, str] = {
        "better": f"above the {chance} of chance",
        "worse": f"below the {chance} of chance",
        "same": f"which is not distinguishable from the {chance} of chance",
        "unknown": f"and nothing says how far that is from the {chance} of chance",
    }
    return f"{capital(model_name(subject.model))} {_does(inputs, headline, subject)}, {ends[tone]}."


def _does(inputs: ReportInputs, headline: Headline, subject: Metric) -> str:
    """`ranks 71.0% of held-out pairs right (95% interval 62.0% to 79.0%)`."""
    if headline is not ACCURACY:
        return f"has a held-out AUC of {told(inputs, subject)}"
    value = measure(subject.value, subject.unit)
    return f"ranks {value} of held-out pairs right{told(inputs, subject).removeprefix(value)}"


def _against_baseline(
    inputs: ReportInputs, headline: Headline, subject: Metric, baseline: Metric, gap: Metric | None, tone: Tone
) -> str:
    name, other = capital(model_name(subject.model)), model_name(baseline.model)
    values = f"{_does(inputs, headline, subject)} against {measure(baseline.value, baseline.unit)}"
    if tone == "unknown":
        return f"{name} {values} for {other}; without an interval no verdict follows."
    claims = {"better": "beats", "worse": "is worse than", "same": "shows no improvement over"}
    between = (
        ""
        if gap is None or gap.ci_low is None
        else f", a difference of {difference(gap.ci_low, gap.ci_high, gap.unit)}"
    )
    return f"{name} {claims[tone]} {other}: it {values}{between}."


def _basis(facts: EvaluationFacts, headline: Headline, subject: Metric) -> str:
    """What the sentence rests on: rows, the exact test beside the interval, and what the test set can show at all."""
    rows = "held-out pair" if headline is ACCURACY else "held-out row"
    how = "whole groups were resampled" if headline is ACCURACY else "the rows of a group count together"
    parts = [f"{plural(subject.n, rows)} in {plural(subject.n_groups, 'prompt group')}; {how}."]
    evidence = _EVIDENCE[headline.name]
    if facts.baseline is None:
        test = facts.find(headline.evaluator, evidence.chance_test, subject.model)
    else:
        test = facts.find(evidence.evaluator, evidence.test, subject.model, facts.baseline)
    if test is not None and test.value is not None:
        told = test.reason or "tested"
        parts.append(f"{counted(told[0].upper() + told[1:])} ({evidence.called}: {p_value(test.value)}).")
    least = facts.find(evidence.evaluator, "minimum_detectable_effect", subject.model, facts.baseline)
    if least is not None and least.value is not None:
        size = f"{100 * least.value:.1f} percentage points"
        parts.append(f"The least difference that this test set finds is {size}, {least.reason}.")
    return " ".join(parts)
