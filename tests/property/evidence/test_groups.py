"""Laws of the splits: no group crosses them, and later data moves no group that it does not merge with an older one."""

from collections import defaultdict
from datetime import timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tests.logs import ided, logs
from thumbline.pipeline.config import ResponsesConfig, SplitsConfig
from thumbline.pipeline.evidence.groups import components
from thumbline.pipeline.evidence.placement import LARGE_ROWS
from thumbline.pipeline.stages import responses, splits

GROUP_BY = st.sampled_from(["prompt", "prompt_and_conversation", "prompt_conversation_and_user"])


def made(events, config):
    table = responses.transform(events.lazy(), ResponsesConfig()).responses.collect()
    return table, splits.transform(table.lazy(), events.lazy(), table.lazy(), config).collect()


@given(logs(), GROUP_BY, st.sampled_from(["hash", "time"]))
def test_no_group_crosses_splits(rows, group_by, method):
    events = ided(rows)
    if method == "time" and events["created_at"].null_count() == events.height:
        return
    config = SplitsConfig(group_by=group_by, method=method, validation=0.3, test=0.3)
    table, found = made(events, config)
    assert found.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1
    split_of = dict(found.select("prompt_id", "split").iter_rows())
    assert set(split_of) == set(table["prompt_id"])
    together = {"prompt_and_conversation": ["conversation_ids"]}
    together["prompt_conversation_and_user"] = ["conversation_ids", "user_ids"]
    for column in together.get(group_by, []):
        seen = defaultdict(set)
        for prompt, keys in table.select("prompt_id", column).iter_rows():
            for key in keys:
                seen[key].add(split_of[prompt])
        assert all(len(places) == 1 for places in seen.values())


@given(logs(), logs(), GROUP_BY)
def test_later_data_moves_no_group_but_one_merged_with_an_older(old, new, group_by):
    config = SplitsConfig(group_by=group_by, validation=0.3, test=0.3)
    timed = [row for row in old if row["created_at"]]
    if not timed:
        return
    last = max(row["created_at"] for row in timed)
    later = [row | {"created_at": last + timedelta(minutes=1 + place)} for place, row in enumerate(new)]
    _, before = made(ided(timed), config)
    table, after = made(ided([*timed, *[row | {"event_id": row["event_id"][::-1]} for row in later]]), config)
    sizes = table.join(after, on="prompt_id", validate="m:1").group_by("group_id").len()["len"]
    # A group can become too large to be held out, and others make up for it: names hold all the same.
    small = sizes.max() < LARGE_ROWS
    moved = before.join(after, on="prompt_id", suffix="_after", validate="1:1")
    assert moved.height == before.height
    for _, group in moved.group_by("group_id_after"):
        # Of the old groups that are now one, one has kept its name and its place; alone, it always has.
        assert group["group_id_after"][0] in group["group_id"].to_list()
        kept = group.filter(pl.col("group_id") == pl.col("group_id_after"))
        assert (kept["split"] == kept["split_after"]).all() or not small
        if group["group_id"].n_unique() == 1:
            assert (group["split"] == group["split_after"]).all() or not small


def slow_components(links):
    """Merge sets until none meet."""
    sets = defaultdict(set)
    for name, key in links:
        sets[key].add(name)
    found = list(sets.values())
    merged = True
    while merged:
        merged = False
        for first in found:
            for second in found:
                if first is not second and first & second:
                    first |= second
                    found.remove(second)
                    merged = True
                    break
            if merged:
                break
    return {frozenset(group) for group in found}


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("uvwxyz")), min_size=1, max_size=20))
def test_components_are_those_of_a_slow_oracle(links):
    table = components(pl.DataFrame(links, schema=["id", "key"], orient="row").unique())
    found = table.group_by("component").agg(pl.col("id"))["id"].to_list()
    assert {frozenset(group) for group in found} == slow_components(links)
