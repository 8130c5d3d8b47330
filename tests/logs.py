"""Random feedback logs: few prompts, answers and users, so that votes meet, repeat and contradict each other."""

from typing import Any

import polars as pl
from hypothesis import strategies as st

from tests.conftest import event, events_table
from thumbline.pipeline.evidence.votes import named

_VOTES = ["up", "up", "down", "down", "retracted", "unrated", "copied", "regenerated"]
_PROMPTS = ["p one", "p  one", "p two", "P two", "p three"]


@st.composite
def _vote_events(draw: st.DrawFn) -> list[dict[str, Any]]:
    position = draw(st.sampled_from([None, 1, 2, 3]))
    row = event(
        draw(st.sampled_from(_PROMPTS)),
        draw(st.sampled_from(["a", "b", "a ", "c"])),
        draw(st.sampled_from(_VOTES)),
        user=draw(st.sampled_from([None, "u1", "u2", "u3"])),
        at=draw(st.sampled_from([None, 0, 1, 2, 5000])),
        model=draw(st.sampled_from([None, "m1", "m2"])),
        conversation_id=draw(st.sampled_from([None, "k1", "k2"])),
        source_line=draw(st.integers(1, 4)),
        position=position,
        propensity=draw(st.sampled_from([None, 0.05, 0.5, 1.0])),
    )
    return [row]


@st.composite
def _comparison_events(draw: st.DrawFn) -> list[dict[str, Any]]:
    prompt = draw(st.sampled_from(_PROMPTS))
    votes = draw(st.sampled_from([("chosen", "rejected"), ("tied", "tied"), ("both_bad", "both_bad")]))
    shared = {
        "user": draw(st.sampled_from([None, "u1", "u2"])),
        "at": draw(st.sampled_from([None, 0, 1])),
        "comparison_kind": draw(st.sampled_from([None, "arena", "ranking"])),
        "comparison_id": str(draw(st.integers(0, 10**6))),
    }
    texts = draw(st.permutations(["a", "b", "c"]))
    return [event(prompt, text, vote, **shared) for text, vote in zip(texts[:2], votes, strict=True)]


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of table `events`, each event once, in any order."""
    parts = draw(st.lists(st.one_of(_vote_events(), _vote_events(), _comparison_events()), min_size=1, max_size=30))
    rows = {row["event_id"]: row for part in parts for row in part}
    return draw(st.permutations(list(rows.values())))


def ided(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as table `events` with the ids of their prompts and responses."""
    return named(events_table(rows).lazy()).collect()


def partitions(events: pl.DataFrame, count: int) -> list[pl.DataFrame]:
    """Named events cut by prompt id."""
    place = pl.col("prompt_id").str.head(8).str.to_integer(base=16) % count
    return [events.filter(place == number) for number in range(count)]
