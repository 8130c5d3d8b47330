"""The verdict on real metrics: what few prompt groups, or pairs of one prompt, may not make it say."""

import numpy as np
import polars as pl
import pytest

from tests.evaluator_rows import PLAIN, scored_pairs, scored_unpaired
from thumbline.evaluators import evaluate
from thumbline.pipeline.report import ReportInputs
from thumbline.pipeline.report.evaluation_facts import evaluation_facts
from thumbline.pipeline.report.verdict import Verdict, verdict


def judged(pairs: pl.DataFrame) -> Verdict:
    """The verdict on scored pairs, from the evaluators' own metrics."""
    rows = pairs.with_columns(chosen_better_probability=1.0)
    tables = {"scored_pairs": rows, "metrics": evaluate(rows, None, PLAIN)}
    inputs = ReportInputs("t", "r", "", "", tables=tables, beta=PLAIN.beta)
    return verdict(inputs, evaluation_facts(inputs))


def judged_unpaired(rows: pl.DataFrame) -> Verdict:
    """The verdict on scored unpaired rows."""
    tables = {"scored_unpaired": rows, "metrics": evaluate(None, rows, PLAIN)}
    inputs = ReportInputs("t", "r", "", "", tables=tables, beta=PLAIN.beta)
    return verdict(inputs, evaluation_facts(inputs))


def flipped(groups: int, pairs: int = 1) -> pl.DataFrame:
    """The untrained model is wrong on every pair, the trained one right."""
    names = [f"g{group}" for group in range(groups) for _ in range(pairs)]
    return pl.concat(
        [scored_pairs([1.0] * len(names), names), scored_pairs([-1.0] * len(names), names, model="untrained")]
    )


@pytest.mark.parametrize(
    ("groups", "tone"),
    [
        (1, "unknown"),  # nothing says how much groups differ
        (3, "same"),  # 2 of 8 choices of signs are as far apart: p = 0.25
        (5, "same"),  # 2 of 32: 0.0625
        (6, "better"),  # 2 of 64: 0.03125
    ],
)
def test_groups_that_all_flip_are_too_few_below_six(groups, tone):
    assert judged(flipped(groups)).tone == tone


def test_many_pairs_of_three_prompts_are_still_three_prompts():
    found = judged(flipped(3, pairs=40))
    assert (found.tone, found.word) == ("same", "Not distinguishable")
    assert "3 prompt groups better, 0 worse, 0 the same (exact test by prompt group: p = 0.250)" in found.basis


def test_the_direction_is_that_of_the_difference():
    turned = flipped(6).with_columns(
        model=pl.col("model").replace({"trained": "untrained", "untrained": "trained"}),
    )
    assert judged(turned).tone == "worse"


def test_the_best_of_ten_equal_models_is_not_called_better():
    # Alone, 9 of 10 groups better than the untrained model have p = 2 (1 + 10) / 1024 = 0.021; of ten models, more.
    models = [scored_pairs([1.0] * 9 + [-1.0], model="trained")]
    models += [scored_pairs([1.0] * 5 + [-1.0] * 5, model=f"other{place}") for place in range(9)]
    base = scored_pairs([0.0] * 10, model="untrained")
    assert judged(pl.concat([models[0], base])).tone == "better"
    assert judged(pl.concat([*models, base])).tone == "same"


@pytest.mark.parametrize(("groups", "tone"), [(3, "same"), (5, "same"), (6, "better")])
def test_a_single_model_is_above_chance_only_with_enough_groups(groups, tone):
    # 40 pairs a prompt, one of which is wrong: the groups hardly differ, and yet they are few.
    margins, names = [1.0] * 39 + [-1.0], [f"g{group}" for group in range(groups) for _ in range(40)]
    pairs = scored_pairs(margins * groups, names, model="alone").with_columns(
        policy_chosen_logps=pl.col("policy_chosen_logps") + pl.int_range(pl.len()) / 1e6
    )
    found = judged(pairs)
    assert found.tone == tone
    assert f"{groups} prompt groups above chance, 0 below, 0 at it (exact test by prompt group: p = 0." in found.basis


@pytest.mark.parametrize(("groups", "tone"), [(1, "unknown"), (3, "same"), (5, "same"), (6, "better")])
def test_few_groups_of_unpaired_rows_that_all_flip_prove_as_little(groups, tone):
    names = [f"g{group}" for group in range(groups)] * 2
    right, wrong = ([1.0] * groups, [-1.0] * groups), ([-1.0] * groups, [1.0] * groups)
    rows = pl.concat([scored_unpaired(*right, names), scored_unpaired(*wrong, names, model="untrained")])
    assert judged_unpaired(rows).tone == tone


def test_unpaired_rows_are_judged_by_the_difference_of_auc():
    generator = np.random.default_rng(8)
    ups, downs = generator.normal(0.9, 1, 60), generator.normal(0, 1, 60)
    plain = scored_unpaired([0.0] * 60, [0.0] * 60, model="untrained")
    found = judged_unpaired(pl.concat([scored_unpaired(ups.tolist(), downs.tolist()), plain]))
    assert found.tone == "better"
    assert "a difference of +" in found.sentence
    assert "Errors clustered by 120 prompt groups (t test: p < 0.001)" in found.basis
    assert "in AUC, at power 0.8" in found.basis
    noise = scored_unpaired(generator.normal(size=60).tolist(), generator.normal(size=60).tolist())
    assert judged_unpaired(pl.concat([noise, plain])).tone == "same"
