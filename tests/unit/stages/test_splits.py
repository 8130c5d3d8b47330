import polars as pl
import pytest

from pipeline.config import ResponsesConfig, SplitsConfig
from pipeline.stages import responses, splits
from pipeline.tables import validate
from tests.conftest import event, events_table


def made(rows, **config):
    table = responses.transform(events_table(rows).lazy(), ResponsesConfig()).responses
    return validate("splits", splits.transform(table, table.select("prompt_id"), SplitsConfig(**config)).collect())


def rated(prompt, **other):
    return event(prompt, f"answer to {prompt}", "up", **other)


def test_shares_are_near_what_was_asked_and_every_prompt_has_one_split():
    table = made([rated(f"prompt {number}") for number in range(4000)], validation=0.1, test=0.2)
    shares = dict(table["split"].value_counts(normalize=True).iter_rows())
    assert shares["test"] == pytest.approx(0.2, abs=0.02)
    assert shares["validation"] == pytest.approx(0.1, abs=0.02)
    assert table["prompt_id"].n_unique() == table.height == 4000


def test_prompts_that_differ_trivially_share_a_group():
    table = made([rated("What is a Fox?"), rated("what is a  fox"), rated("What is an ox?")])
    assert table["group_id"].n_unique() == 2


def test_a_conversation_does_not_cross_splits_unless_told():
    rows = [rated(f"turn {number}", conversation_id="c") for number in range(30)]
    assert made(rows)["group_id"].n_unique() == 1
    assert made(rows, group_by="prompt")["group_id"].n_unique() == 30


def test_adding_data_moves_no_group():
    old = [rated(f"prompt {number}") for number in range(300)]
    before = made(old)
    after = made([*old, *(rated(f"new prompt {number}") for number in range(300))])
    assert before.equals(after.join(before.select("prompt_id"), on="prompt_id", how="semi").sort("prompt_id"))


def test_salt_changes_the_split():
    rows = [rated(f"prompt {number}") for number in range(100)]
    assert not made(rows)["split"].equals(made(rows, salt="other")["split"])


def test_prompts_of_symbols_alone_are_not_thrown_together():
    assert made([rated("???"), rated("!!!")])["group_id"].n_unique() == 2


def test_only_prompts_with_evidence_get_a_split():
    table = responses.transform(
        events_table([rated("a"), event("b", "c", "unrated")]).lazy(), ResponsesConfig()
    ).responses
    labelled = table.filter(pl.col("label") != "abstain").select("prompt_id")
    assert splits.transform(table, labelled, SplitsConfig()).collect().height == 1
