"""Held-out sequences are scored as the reference was, or it is said that they were not."""

import polars as pl

from thumbline.pipeline.stages.policy import other_route, transform
from thumbline.pipeline.tables import polars_schema


def test_held_out_sequences_with_their_own_prompt_each_once():
    rows = [
        ("a" * 32, "matched", "1" * 32, "test"),
        ("b" * 32, "matched", "1" * 32, "test"),
        ("c" * 32, "mismatched", "2" * 32, "test"),
        ("d" * 32, "matched", "3" * 32, "train"),
    ]
    table = pl.DataFrame(rows, schema=polars_schema("row_sequences"), orient="row")
    assert transform(table.lazy(), mismatched=False).collect()["sequence_id"].to_list() == ["1" * 32]
    both = transform(table.lazy(), mismatched=True).collect()["sequence_id"]
    assert sorted(both) == ["1" * 32, "2" * 32]


def test_two_ways_of_scoring_are_said():
    fast = {"engine": "vllm 0.32.0", "route": "adapter", "scored": 3}
    assert other_route(fast, fast | {"scored": 9}) is None
    message = other_route(fast, {"engine": "transformers 5.19.0", "route": "transformers"})
    assert "scored by vllm 0.32.0 by adapter, the trained model by transformers 5.19.0 by transformers" in message
    assert "reference.routes" in message
