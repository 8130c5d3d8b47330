"""Message columns as TRL reads them: role and content, or where messages carry more, each as the JSON that it is."""

import json
from typing import Any, Final

import polars as pl
import pyarrow as pa

from ..storage.digests import compact_json
from .rows import ANSWERS, Kind, Message, message_of

_PLAIN: Final = ("role", "content")


def message_columns(kind: Kind) -> tuple[str, ...]:
    """Columns of messages."""
    return ("prompt", *ANSWERS[kind])


def carries_more(rows: pl.DataFrame, kind: Kind) -> bool:
    """Whether any message has more than role and content."""
    return any(
        rows[name].list.eval(pl.element().struct.field("extra").is_not_null()).list.any().any()
        for name in message_columns(kind)
    )


def plain_messages(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """`rows` with messages of role and content alone, as one struct each."""
    return rows.with_columns(
        pl.col(name).list.eval(pl.struct(*(pl.element().struct.field(field) for field in _PLAIN)))
        for name in message_columns(kind)
    )


def json_messages(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """`rows` with each message as JSON text that has the keys it carries and no others.

    As columns of a struct every message would have every key, and a template that asks whether there is a
    `tool_calls` would find one. Arguments of calls are objects, as templates expect them, where they were logged as the
    text of one.
    """
    return rows.with_columns(
        pl.Series(name, [_texts(messages) for messages in rows[name]], dtype=pl.List(pl.String))
        for name in message_columns(kind)
    )


def _texts(messages: pl.Series) -> list[str]:
    return [compact_json(_with_objects(message_of(stored))) for stored in messages]


def _with_objects(message: Message) -> Message:
    called = message.get("tool_calls")
    if not isinstance(called, list):
        return message
    return {**message, "tool_calls": [_with_object(call) for call in called]}


def _with_object(call: Any) -> Any:
    """The call with its arguments as an object where they are the text of one."""
    if not isinstance(call, dict):
        return call
    if isinstance(call.get("function"), dict):
        return {**call, "function": _with_object(call["function"])}
    try:
        parsed = json.loads(call.get("arguments", ""))
    except (TypeError, ValueError):
        return call
    return {**call, "arguments": parsed} if isinstance(parsed, dict) else call


def typed_messages(rows: pl.DataFrame, kind: Kind) -> Any:
    """Rows of `json_messages` as an Arrow table whose messages are JSON by their type: `datasets` gives back dicts."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    for name in message_columns(kind):
        texts = table[name].combine_chunks().cast(pa.list_(pa.string()))
        messages = pa.ExtensionArray.from_storage(pa.json_(), texts.values)
        typed = pa.ListArray.from_arrays(texts.offsets, messages)
        table = table.set_column(table.schema.get_field_index(name), name, typed)
    return table
