"""A liking for length beside the model: how often it is right, whether a test tells them apart, what is then said."""

import dataclasses

import polars as pl
import pytest

from tests.evaluator_rows import PLAIN, scored_pairs, scored_unpaired
from tests.report_inputs import dpo_run
from thumbline.evaluators import evaluate
from thumbline.pipeline.report import ReportInputs
from thumbline.pipeline.report.beside import ties_by_construction
from thumbline.pipeline.report.evaluation_facts import ACCURACY, AUC, evaluation_facts
from thumbline.pipeline.report.length import length_rule
from thumbline.pipeline.report.verdict import verdict


def inputs_of(pairs=None, unpaired=None, reward="implicit"):
    tables = {"metrics": evaluate(pairs, unpaired, dataclasses.replace(PLAIN, reward=reward))}
    tables |= {} if pairs is None else {"scored_pairs": pairs.with_columns(chosen_better_probability=1.0)}
    tables |= {} if unpaired is None else {"scored_unpaired": unpaired}
    return ReportInputs("t", "r", "", "", tables=tables, beta=PLAIN.beta, reward=reward)


def with_untrained(pairs):
    """The same pairs under the reference as well, where every margin is 0."""
    before = pairs.with_columns(policy_chosen_logps="reference_chosen_logps", model=pl.lit("untrained"))
    return pl.concat([pairs, before])


def judged(margins, lengths):
    inputs = inputs_of(with_untrained(scored_pairs(margins, lengths=lengths)))
    return verdict(inputs, evaluation_facts(inputs))


# Right on 18 of 20 prompts, whose better answers are all the shorter ones.
RIGHT = [1.0] * 18 + [-1.0] * 2
SHORTER = [(5, 9)] * 20


def test_the_rule_and_the_model_by_hand():
    inputs = inputs_of(with_untrained(scored_pairs(RIGHT, lengths=[(5, 9)] * 15 + [(9, 5)] * 3 + [(5, 5)] * 2)))
    rule = length_rule(inputs, evaluation_facts(inputs), ACCURACY)
    # 15 right, 3 wrong, 2 ties of one half: 16 of 20.
    assert (rule.side, rule.share, rule.model, rule.rows) == ("shorter", 0.8, 0.9, 20)
    # Three groups go up by 1, two ties down by 1/2: of 32 choices of signs, 7 have a sum of 2 or more, and 7 of -2.
    assert rule.p_value == pytest.approx(14 / 32)
    assert not rule.does_as_well
    assert rule.may_explain(0.95)


@pytest.mark.parametrize("kind", [pl.UInt32, pl.UInt64, pl.Int8])
def test_counts_of_any_type_give_the_same_rule(kind):
    pairs = with_untrained(scored_pairs(RIGHT, lengths=[(5, 9)] * 15 + [(9, 5)] * 5))
    inputs = [inputs_of(one) for one in (pairs, pairs.with_columns(pl.col("^.*_token_count$").cast(kind)))]
    expected, found = (length_rule(one, evaluation_facts(one), ACCURACY) for one in inputs)
    assert found == expected and expected.side == "shorter"


def test_a_model_that_length_matches_is_not_green():
    found = judged(RIGHT, SHORTER)
    assert (found.tone, found.word) == ("length", "Better, but length may explain it")
    assert "Preferring the shorter answer is right in 100.0%, so length may explain it." in found.sentence
    (flag,) = (flag for flag in found.flags if flag.title == "Length alone does as well")
    assert flag.text == "Always preferring the shorter answer is right in 100.0% of these 20 pairs, the model in 90.0%."


def test_a_model_that_no_test_tells_from_length_is_not_green_either():
    found = judged(RIGHT, [(5, 9)] * 15 + [(9, 5)] * 3 + [(5, 5)] * 2)
    assert found.tone == "length"
    (flag,) = (flag for flag in found.flags if flag.title == "Length alone may do as well")
    assert "not distinguishable (p = 0.438)" in flag.text


def test_a_model_that_is_surely_better_than_length_is_green():
    found = judged(RIGHT, [(5, 9), (9, 5)] * 10)
    assert found.tone == "better"
    assert not found.flags
    assert "Preferring the longer answer is right in 50.0%." in found.sentence


def test_rows_with_labels_are_held_against_the_auc_of_length():
    ups, downs = [1.0 + place / 10 for place in range(12)], [-1.0 - place / 10 for place in range(12)]
    names = [f"g{place:05}" for place in range(12)] * 2
    rows = scored_unpaired(ups, downs, names)
    before = scored_unpaired([0.0] * 12, [0.0] * 12, names, model="untrained")
    longer = pl.concat([rows, before]).with_columns(
        token_count=pl.when("label").then(9).otherwise(5) + pl.int_range(pl.len()) % 2
    )
    inputs = inputs_of(unpaired=longer)
    rule = length_rule(inputs, evaluation_facts(inputs), AUC)
    assert (rule.side, rule.share, rule.model, rule.does_as_well) == ("longer", 1.0, 1.0, True)
    found = verdict(inputs, evaluation_facts(inputs))
    assert found.tone == "length"
    assert "Preferring the longer answer has an AUC of 100.0%, so length may explain it." in found.sentence
    equal = inputs_of(unpaired=pl.concat([rows, before]))
    assert verdict(equal, evaluation_facts(equal)).tone == "better"


def test_only_a_reference_that_ties_on_all_is_even_by_construction():
    tied = inputs_of(with_untrained(scored_pairs(RIGHT)))
    assert ties_by_construction(tied, evaluation_facts(tied), ACCURACY)
    moved = with_untrained(scored_pairs(RIGHT)).with_columns(pl.col("policy_chosen_logps") + 1e-3)
    assert not ties_by_construction(inputs_of(moved), evaluation_facts(inputs_of(moved)), ACCURACY)
    own = inputs_of(with_untrained(scored_pairs(RIGHT)), reward="sum_logps")
    assert not ties_by_construction(own, evaluation_facts(own), ACCURACY)
    assert "by construction" not in verdict(own, evaluation_facts(own)).sentence
    run = dpo_run()
    assert "as the reference it ties on every pair. Log-probs before training rank" in (
        verdict(run, evaluation_facts(run)).sentence
    )
