"""Event columns are said twice, as a table and as a type, and the two agree; the rest follows from them."""

from typing import get_type_hints

import polars as pl

from thumbline.pipeline.importers.base import RawEvent
from thumbline.pipeline.ingest.columns import OPTIONAL, RAW_EVENTS, STORED_EVENTS, STORED_REJECTS
from thumbline.pipeline.tables import TEXTS, polars_schema

EVENTS = polars_schema("events", optional=True)
# Made of the source, of content, and of repetition.
MADE = {"source_file", "format", "event_id", "prompt_id", "response_id", "deliveries"}


def test_a_raw_event_has_every_column_of_the_table_that_is_not_made_later() -> None:
    fields = {"source_line" if name == "line" else name for name in RawEvent._fields}
    assert fields - {"source_event_id"} == set(EVENTS) - MADE


def test_the_types_of_the_table_are_those_of_the_fields() -> None:
    python = {pl.String: "str", pl.Int64: "int", pl.Float64: "float", pl.Datetime: "datetime", pl.Enum: "str"}
    hints = {name: str(hint) for name, hint in get_type_hints(RawEvent).items()}
    for name in set(EVENTS) & set(hints):
        assert python.get(EVENTS[name].base_type(), "list") in hints[name]


def test_raw_events_have_the_order_of_the_table() -> None:
    assert RAW_EVENTS.names() == ["source_event_id", *(name for name in EVENTS if name in RAW_EVENTS)]
    assert set(RAW_EVENTS) == {"source_event_id", "source_file", "format", *set(EVENTS) - MADE}


def test_an_id_is_made_of_these_in_this_order() -> None:
    assert (
        *("source_event_id", "conversation_id", "user_id", "model"),
        *("comparison_id", "comparison_kind", "propensity", "position"),
    ) == OPTIONAL


def test_rows_on_disk_name_their_source_by_a_number() -> None:
    assert set(STORED_EVENTS) == {"unit", *set(EVENTS) - {*TEXTS, "source_file", "format", "deliveries"}}
    assert set(STORED_REJECTS) == {"unit", *set(polars_schema("rejects")) - {"source_file"}}
