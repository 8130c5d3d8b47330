"""Ids of events: of all that they say, and of nothing else."""

from datetime import UTC, datetime
from hashlib import sha256

import polars as pl
import pytest

from thumbline.pipeline.ingest.columns import OPTIONAL, RAW_EVENTS
from thumbline.pipeline.ingest.event_ids import with_ids

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(**said: object) -> dict[str, object]:
    asked = [{"role": "user", "content": "p"}]
    return {
        "source_file": "f",
        "source_line": 1,
        "format": "x",
        "prompt": asked,
        "completion": "r",
        "vote": "up",
    } | said


def ids(*events: dict[str, object]) -> list[str]:
    return with_ids(pl.DataFrame(events, schema=RAW_EVENTS))["event_id"].to_list()


def by_definition(row: dict[str, object], response_id: str) -> str:
    moment = row.get("created_at")
    time = "-" if not isinstance(moment, datetime) else f"{int(moment.timestamp()) * 1_000_000}"
    values = ["" if row.get(name) is None else f"={row[name]}" for name in OPTIONAL]
    said = "".join(f"{len(value.encode())}:{value}" for value in values)
    # Both texts are what their ids are made of.
    return sha256(f"{row['format']} {row['vote']} {time} {response_id} {said}0:0:".encode()).hexdigest()[:32]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"created_at": MOMENT},
        {"source_event_id": "e", "user_id": "\u00e9", "position": 2},
        {"model": "", "comparison_kind": "edit"},
        {name: {"propensity": 0.5, "position": 1, "comparison_kind": "arena"}.get(name, name) for name in OPTIONAL},
    ],
)
def test_an_id_is_the_digest_of_what_an_event_says(said: dict[str, object]) -> None:
    plain, told = event(), event(**said)
    for rows in ([told], [plain, told], [told, plain]):
        made = with_ids(pl.DataFrame(rows, schema=RAW_EVENTS))
        expected = [by_definition(row, name) for row, name in zip(rows, made["response_id"], strict=True)]
        assert made["event_id"].to_list() == expected


def test_missing_and_empty_values_differ_and_do_not_run_into_each_other() -> None:
    events = [event(), event(model=""), event(user_id="a", model="b"), event(user_id="ab"), event(user_id="a")]
    assert len(set(ids(*events))) == len(events)
    assert ids(event(source_line=7, source_file="other")) == ids(event())
