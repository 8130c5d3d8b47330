"""Law of the partitions: a table cut by prompt gives the rows of the whole table, bit by bit, in every stage."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws import examples
from tests.logs import ided, logs, partitions
from thumbline.pipeline.config import PairsConfig, ResponsesConfig, SplitsConfig, UnpairedConfig
from thumbline.pipeline.evidence.leakage import leak_keys
from thumbline.pipeline.stages import pairs, responses, splits, unpaired

RESPONSES = st.builds(
    ResponsesConfig,
    reliability=st.sampled_from(["none", "one_label", "dawid_skene"]),
    one_label_votes=st.just(2),
    half_life_days=st.sampled_from([None, 1.5]),
    exposure=st.sampled_from(["none", "propensity", "position"]),
    min_confidence=st.sampled_from([0.5, 0.7]),
    min_completion_chars=st.sampled_from([0, 2]),
)
PAIRS = st.builds(
    PairsConfig,
    strategy=st.sampled_from(["best_worst", "all_above_margin"]),
    min_margin=st.sampled_from([0.0, 0.1]),
    opposite_labels=st.booleans(),
    max_per_prompt=st.sampled_from([1, 2]),
    same_model=st.booleans(),
    model=st.sampled_from([None, "m1"]),
    max_similarity=st.just(1.0),
)
UNPAIRED = st.builds(
    UnpairedConfig,
    weight_by_confidence=st.booleans(),
    weight_by_exposure=st.booleans(),
    weight_by_recency=st.booleans(),
)


def merged(tables):
    """Tables of partitions as the one table that they are."""
    whole = pl.concat(tables)
    keys = [
        name for name in ("prompt_id", "response_id", "chosen_response_id", "rejected_response_id") if name in whole
    ]
    more = [name for name in ("kind", "other_response_id", "user_id", "pair_source") if name in whole.columns]
    if "comparison_id" in whole.columns:
        return whole.sort("prompt_id", "comparison_id", "response_id", "other_response_id")
    if "pair_id" in whole.columns:
        return whole.sort("prompt_id", "pair_id")
    return whole.sort([*keys, *more])


@examples(60)
@given(logs(), RESPONSES, UNPAIRED, PAIRS, st.integers(1, 4))
def test_cut_by_prompt_every_table_is_the_same(rows, evidence, weights, strategy, count):
    events = ided(rows)
    whole = responses.transform(events.lazy(), evidence)
    cut = partitions(events, count)
    known = responses.shared([responses.log_facts(part.lazy()) for part in reversed(cut)], evidence)
    parts = [responses.transform(part.lazy(), evidence, known) for part in cut]
    for table in responses.Responses._fields:
        assert merged([getattr(part, table).collect() for part in parts]).equals(getattr(whole, table).collect()), table

    labelled = [unpaired.transform(part.responses, weights).collect() for part in parts]
    assert merged(labelled).equals(unpaired.transform(whole.responses, weights).collect())

    made = [pairs.transform(part.responses, part.comparisons, strategy, evidence) for part in parts]
    together = pairs.transform(whole.responses, whole.comparisons, strategy, evidence)
    for table in ("pairs", "pair_drops"):
        assert merged([getattr(part, table).collect() for part in made]).equals(getattr(together, table).collect()), (
            table
        )
    added = pl.concat([part.pair_yield.collect() for part in made])
    assert (
        added.group_by("outcome", "advice", maintain_order=True)
        .agg(pl.col("n_prompts").sum())
        .select("outcome", "n_prompts", "advice")
        .equals(together.pair_yield.collect())
    )


@examples(60)
@given(
    logs(),
    st.sampled_from(["prompt", "prompt_and_conversation", "prompt_conversation_and_user"]),
    st.integers(1, 4),
)
def test_groups_and_audit_are_the_same_from_partitions(rows, group_by, count):
    evidence, config = ResponsesConfig(), SplitsConfig(group_by=group_by, validation=0.3, test=0.3)
    events = ided(rows)
    cut = [part.lazy() for part in partitions(events, count)]
    parts = [responses.transform(part, evidence).responses.collect().lazy() for part in cut]
    whole = pl.concat(parts)
    made = splits.transform(whole, events.lazy(), whole, config).collect()
    facts = [splits.prompt_facts(part, met, config) for part, met in zip(parts, cut, strict=True)]
    assert splits.assign(reversed(facts), whole, config).equals(made)

    labelled = [unpaired.transform(part, UnpairedConfig()) for part in parts]
    none = pairs.transform(whole, responses.transform(ided(rows).lazy(), evidence).comparisons, PairsConfig(), evidence)
    empty = none.pairs.filter(pl.lit(False))
    keys = [leak_keys(part, empty, made.lazy(), near=False).collect() for part in labelled]
    once = leak_keys(pl.concat(labelled), empty, made.lazy(), near=False).collect()
    assert splits.leakage_of(pl.concat(keys), config).equals(splits.leakage_of(once, config))


@examples(30)
@given(logs(), st.sampled_from(["normalised", "near_duplicate"]))
def test_prompt_groups_are_the_same_from_partitions(rows, grouping):
    if grouping == "near_duplicate":
        pytest.importorskip("rensa")
    config = PairsConfig(group_prompts=grouping, max_similarity=1.0)
    events, prior = ided(rows), ResponsesConfig()
    whole = responses.transform(events.lazy(), prior)
    cut = [responses.transform(part.lazy(), prior).responses for part in partitions(events, 3)]
    known = pairs.groups([pairs.group_keys(part, config) for part in cut], config)
    together = pairs.transform(whole.responses, whole.comparisons, config, prior)
    given_groups = pairs.transform(whole.responses, whole.comparisons, config, prior, known)
    assert given_groups.pairs.collect().equals(together.pairs.collect())


@given(logs())
def test_ids_that_events_bring_are_used_as_they_are(rows):
    events = ided(rows)
    bare = events.drop("prompt_id", "response_id")
    config = ResponsesConfig()
    assert (
        responses.transform(bare.lazy(), config)
        .responses.collect()
        .equals(responses.transform(events.lazy(), config).responses.collect())
    )
    renamed = events.with_columns(response_id=pl.lit("0" * 32), prompt_id=pl.lit("1" * 32))
    assert set(responses.transform(renamed.lazy(), config).responses.collect()["response_id"]) == {"0" * 32}
