"""Sampled answers of several runs side by side, and what keeps them from it."""

import dataclasses

import polars as pl
import pytest

from tests.answer_rows import answer_tables
from tests.report_inputs import manifest
from tests.unit.evaluation.rows import IMPLICIT, run_like
from thumbline.pipeline.config import build_config
from thumbline.pipeline.evaluation.outcome import Choices, evaluate_subject
from thumbline.pipeline.evaluation.union import unite
from thumbline.pipeline.storage.manifests import Counts
from thumbline.pipeline.tables import polars_schema

DEFAULT = {"judge": "taste.py:kind", "name": "kind", "options": {}}


def asked(name, trained, *, judge=DEFAULT, source="d1", samples=2, key="k"):
    """A run whose trained model's answers to 20 prompts are scored as given; the untrained one's get 0.5."""
    given = answer_tables(
        {"trained": [[score] * 2 for score in trained], "untrained": [[0.5] * 2] * len(trained)}, judge=judge["name"]
    )
    tables = {
        "generation_prompts": given.prompts,
        # Each run's model writes texts of its own; the untrained one's are the same.
        "generations": given.generations.with_columns(
            completion=pl.when(pl.col("model") == "trained").then(pl.col("completion") + name).otherwise("completion")
        ),
        "judgements": given.judgements.with_columns(reason=pl.lit(None, pl.String)),
        "judged_pairs": pl.DataFrame(schema=polars_schema("judged_pairs")),
    }
    nothing = Counts(rows_in=0, rows_out=0)
    told = manifest("judgements", nothing, {"judges": [judge]}, {}, {}, 1.0)
    manifests = {
        "generations": manifest("generations", nothing, {}, {}, {"reference_key": key}, 1.0),
        "judgements": told.model_copy(update={"inputs": {f"{judge['name']}:source": source}}),
    }
    document = {"name": name, "model": "m", "events": {"inputs": ["a"]}, "generations": {"samples": samples}}
    config = build_config(document, origin="test")
    return dataclasses.replace(run_like(15, 5, name=name), tables=tables, manifests=manifests, config=config)


def united(*runs):
    return unite({one.name: one for one in runs}, {one.name: IMPLICIT for one in runs}).subject


def test_answers_of_two_runs_are_held_against_each_other_by_the_judge_that_both_asked():
    # b's answers are better on 18 of 20 prompts.
    found = united(asked("a", [0.4] * 20), asked("b", [0.9] * 18 + [0.1] * 2))
    assert (found.judges, found.notes) == (("kind",), ())
    metrics = evaluate_subject(found, Choices(draws=200)).metrics
    wins = metrics.filter((pl.col("metric") == "win_rate") & pl.col("slice").is_null())
    rates = {(row["model"], row["compared_with"]): row["value"] for row in wins.iter_rows(named=True)}
    assert rates == {("b", "a"): pytest.approx(0.9), ("untrained", "a"): pytest.approx(1.0)}
    # The untrained model's answers stand there once.
    counts = dict(found.tables["generations"]["model"].value_counts().iter_rows())
    assert counts == {"a": 40, "b": 40, "untrained": 40}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (run_like(10, 10, name="b"), "b sampled none"),
        (asked("b", [0.9] * 20, samples=4), "sampled in different ways"),
        (asked("b", [0.9] * 19), "answer different prompts"),
        (asked("b", [0.9] * 20, key="other"), "scored under different untrained models"),
        (asked("b", [0.9] * 20, source="d2"), "no judge is the same in all of them"),
        (asked("b", [0.9] * 20, judge={**DEFAULT, "options": {"x": 1}}), "no judge is the same in all of them"),
    ],
)
def test_answers_that_cannot_be_compared_are_left_out_with_the_reason(other, why):
    found = united(asked("a", [0.4] * 20), other)
    assert (found.judges, "generations" in found.tables) == ((), False)
    (note,) = found.notes
    assert note.startswith("Sampled answers (a")
    assert why in note


def test_runs_without_answers_say_nothing_of_them():
    assert united(run_like(15, 5, name="a"), run_like(10, 10, name="b")).notes == ()


def test_a_judge_that_only_one_run_asked_is_named():
    one, other = asked("a", [0.4] * 20), asked("b", [0.9] * 20)
    judgements = one.manifests["judgements"]
    more = judgements.model_copy(update={"config": {"judges": [DEFAULT, {**DEFAULT, "name": "second"}]}})
    found = united(dataclasses.replace(one, manifests={**one.manifests, "judgements": more}), other)
    assert found.judges == ("kind",)
    assert found.notes == ("Judges that are not the same in all runs are left out here: second.",)
