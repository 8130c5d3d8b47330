"""Which rows are trained on: fewer are a part of more, the same whatever the order of the table, and of liked ones."""

import itertools

import polars as pl
import pytest

from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.training.selecting import first_rows, selected

PAIRS = pl.DataFrame([{"prompt_id": f"p{row // 3}", "pair_id": f"a{row}"} for row in range(30)])
THUMBS = pl.DataFrame(
    [{"prompt_id": f"p{row // 4}", "response_id": f"r{row}", "label": row % 2 == 0} for row in range(40)]
)


def ids(rows):
    return set(rows["pair_id" if "pair_id" in rows.columns else "response_id"])


@pytest.mark.parametrize("rows", [PAIRS, THUMBS])
def test_fewer_rows_are_a_part_of_more_and_a_prompt_is_taken_whole_before_the_next(rows):
    taken = [first_rows(rows, most, seed=3) for most in (1, 5, 9, 16, rows.height)]
    assert [part.height for part in taken] == [1, 5, 9, 16, rows.height]
    assert all(ids(less) <= ids(more) for less, more in itertools.pairwise(taken))
    per_prompt = rows["prompt_id"].value_counts()["count"][0]
    counts = taken[2]["prompt_id"].value_counts()["count"].sort(descending=True).to_list()
    assert counts[:-1] == [per_prompt] * (len(counts) - 1)


def test_the_order_of_the_table_changes_nothing_and_the_seed_does():
    mixed = PAIRS.sample(fraction=1.0, shuffle=True, seed=1)
    assert ids(first_rows(mixed, 7, 0)) == ids(first_rows(PAIRS, 7, 0)) != ids(first_rows(PAIRS, 7, 1))
    # What is kept keeps its place.
    assert first_rows(PAIRS, 7, 0)["pair_id"].to_list() == [
        one for one in PAIRS["pair_id"] if one in ids(first_rows(PAIRS, 7, 0))
    ]


def test_pairs_and_thumbs_are_of_the_same_prompts_first():
    prompts = set(first_rows(PAIRS, 6, 2)["prompt_id"])
    assert prompts == set(first_rows(THUMBS, 8, 2)["prompt_id"])


def test_only_training_rows_are_limited_and_liked_ones_alone_are_learnt_from():
    assert selected(THUMBS, TrainConfig(method="kto", most_rows=5), "train").height == 5
    assert selected(THUMBS, TrainConfig(method="kto", most_rows=5), "validation").height == 40
    assert selected(THUMBS, TrainConfig(method="kto"), "train").height == 40
    liked = selected(THUMBS, TrainConfig(method="sft", most_rows=5), "train")
    assert liked.height == 5 and liked["label"].all()
    assert selected(THUMBS, TrainConfig(method="sft"), "validation")["label"].all()
