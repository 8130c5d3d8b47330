"""What a reader must know before believing a verdict: rewards that both fell, length that does as well, odd splits."""

from typing import Final, NamedTuple

import polars as pl

from thumbline.evaluators import needs_reference

from .evaluation_facts import ACCURACY, EvaluationFacts, Headline
from .examples import rewards
from .formatting import interval, number, p_value, percent, plural
from .inputs import Missing, ReportInputs
from .judges import SCORES, WINS, judge_names, length_wins, opinion, sides
from .length import length_rule

# Shares of answers above which a reader has to know that a judge left them out.
_MOST_UNJUDGED: Final = 0.05
_LEAST_AGREEMENT: Final = 0.75


class Flag(NamedTuple):
    """One warning."""

    title: str
    text: str


def warnings(inputs: ReportInputs, facts: EvaluationFacts, headline: Headline) -> tuple[Flag, ...]:
    """Warnings about held-out rows; none where there are no rewards."""
    found = [both_fell(inputs, facts), _length_does_as_well(inputs, facts, headline)]
    return tuple(flag for flag in found if flag is not None)


def answer_warnings(inputs: ReportInputs, facts: EvaluationFacts) -> tuple[Flag, ...]:
    """Warnings about sampled answers and their judges; none where nothing was judged."""
    names = judge_names(inputs, facts)
    found = [] if not names else [_length_wins(facts, names[0]), _unsteady(facts, names[0]), _unjudged(facts, names[0])]
    found += [_otherwise(inputs, facts, names[0], name) for name in names[1:]]
    return tuple(flag for flag in found if flag is not None)


def _length_wins(facts: EvaluationFacts, judge: str) -> Flag | None:
    """Wins that are gone at equal length."""
    found = length_wins(facts, judge)
    if found is None:
        return None
    plain, equal = found
    return Flag(
        "Length may be what wins",
        f"At equal length the win rate by {judge} is {percent(equal.value)} "
        f"({interval(equal.ci_low, equal.ci_high, 'share')}), against {percent(plain.value)} as the answers are.",
    )


def _unsteady(facts: EvaluationFacts, judge: str) -> Flag | None:
    """A judge that says otherwise when the answers change places."""
    row = facts.find(WINS, "self_agreement", *sides(facts), judge)
    if row is None or row.value is None or row.value >= _LEAST_AGREEMENT:
        return None
    return Flag(
        "The judge hangs on the order",
        f"Shown the same two answers in the other order, {judge} agrees with itself in {percent(row.value)} of pairs.",
    )


def _unjudged(facts: EvaluationFacts, judge: str) -> Flag | None:
    model, baseline = sides(facts)
    found = [facts.find(WINS, "refused", model, baseline, judge), facts.find(SCORES, "unjudged", model, None, judge)]
    shares = [row.value for row in found if row is not None and row.value is not None]
    if not shares or max(shares) <= _MOST_UNJUDGED:
        return None
    return Flag(
        "Not all answers were judged",
        f"{judge} said nothing of {percent(max(shares))} of them: they count for nothing.",
    )


def _otherwise(inputs: ReportInputs, facts: EvaluationFacts, first: str, other: str) -> Flag | None:
    """A further judge that sees it otherwise than the one that decides."""
    ours, theirs = opinion(inputs, facts, first), opinion(inputs, facts, other)
    if ours is None or theirs is None or "unknown" in {ours.tone, theirs.tone} or ours.tone == theirs.tone:
        return None
    return Flag(f"{other} sees it otherwise", theirs.sentence)


def split_warnings(inputs: ReportInputs) -> tuple[Flag, ...]:
    """Shares of the splits that are off; none where the rows were not split here."""
    manifest = inputs.manifests.get("splits")
    said = () if manifest is None else manifest.said
    return tuple(Flag("The splits are not as asked for", sentence) for sentence in said)


def both_fell(inputs: ReportInputs, facts: EvaluationFacts) -> Flag | None:
    """Both sides became less likely: against the reference where rewards are implicit, else against the baseline."""
    scored = rewards(inputs, "pairs")
    if isinstance(scored, Missing):
        return None
    rows, before = (
        scored.filter(pl.col("model").eq_missing(pl.lit(name, dtype=pl.String)))
        for name in (facts.subject, facts.baseline)
    )
    implicit = needs_reference(inputs.reward)
    if rows.is_empty() or (not implicit and before.is_empty()):
        return None
    changes = {}
    for side in ("chosen", "rejected"):
        start = 0.0 if implicit else float(before[f"{side}_reward"].to_numpy().mean())
        changes[side] = float(rows[f"{side}_reward"].to_numpy().mean()) - start
    if changes["chosen"] >= 0 or changes["rejected"] >= 0:
        return None
    return Flag(
        "Both rewards fell",
        f"Better answers became less likely too: the mean reward of chosen moved by {number(changes['chosen'])}, "
        f"that of rejected by {number(changes['rejected'])}. A lower learning rate, a higher beta or a likelihood "
        f"term on chosen counters it.",
    )


def _length_does_as_well(inputs: ReportInputs, facts: EvaluationFacts, headline: Headline) -> Flag | None:
    """A liking for length that ranks these rows as well as the model does, or not surely worse."""
    rule = length_rule(inputs, facts, headline)
    if rule is None or not rule.may_explain(inputs.confidence):
        return None
    of_pairs = headline is ACCURACY
    share = f"is right in {percent(rule.share)} of" if of_pairs else f"has an AUC of {percent(rule.share)} on"
    what = f"Always preferring the {rule.side} answer {share} these {plural(rule.rows, 'pair' if of_pairs else 'row')}"
    what += f", the model {'in' if of_pairs else 'of'} {percent(rule.model)}"
    if rule.does_as_well or rule.p_value is None:
        return Flag("Length alone does as well", f"{what}.")
    return Flag(
        "Length alone may do as well",
        f"{what}: by a test of prompt groups that is not distinguishable ({p_value(rule.p_value)}).",
    )
