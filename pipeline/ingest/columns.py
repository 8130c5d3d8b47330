"""The columns of events on their way to table `events`, all of them derived from that table and from `RawEvent`.

A new column is a field of `RawEvent` and a column of the table; everything below follows.
"""

from typing import Final

import polars as pl

from ..importers.base import RawEvent
from ..tables import TEXTS, polars_schema

_EVENTS: Final = polars_schema("events", optional=True)
# What a source's rows are read as says these; `source_line` is the event's `line`.
_FROM_SOURCE: Final = ("source_file", "source_line", "format")
# What an id of an event is made of in other ways than as an optional text: the texts stand in the response's id.
_NOT_OPTIONAL: Final = ("prompt", "tools", "completion", "completion_extra", "vote", "created_at", "line")
# The number that stands for a source while rows are on disk.
UNIT: Final = "unit"

RAW_EVENTS: Final = pl.Schema(
    [
        ("source_event_id", pl.String()),
        *((name, dtype) for name, dtype in _EVENTS.items() if name in (*_FROM_SOURCE, *RawEvent._fields)),
    ]
)
# Their order is part of every event id.
OPTIONAL: Final = tuple(name for name in RawEvent._fields if name not in _NOT_OPTIONAL)
# An event's texts lie apart from it: an answer that a thousand events are of is stored once a memory full of them.
_APART: Final = (*TEXTS, "source_file", "format", "deliveries")
STORED_EVENTS: Final = pl.Schema(
    [(UNIT, pl.Int64()), *((name, dtype) for name, dtype in _EVENTS.items() if name not in _APART)]
)
STORED_REJECTS: Final = pl.Schema(
    [
        (UNIT, pl.Int64()),
        *((name, dtype) for name, dtype in polars_schema("rejects").items() if name != "source_file"),
    ]
)
