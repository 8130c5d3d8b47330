"""Message lists as data sets have them: what a message says beside role and content under keys of its own."""

import json
from typing import Any

import polars as pl
import pyarrow as pa

from ..tables import MESSAGES
from .digests import compact_json


def with_message_keys(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with its message lists in the layout that TRL and `datasets` read, and without a column `tools` of nulls.

    All message columns get the same keys.

    Args:
        frame: Columns of any kind, message lists as tables have them among them.
    """
    names = [name for name, dtype in frame.schema.items() if dtype == MESSAGES]
    if "tools" in frame.columns and not frame["tools"].count():
        frame = frame.drop("tools")
    if not any(frame[name].explode().struct.field("extra").count() for name in names):
        bare = pl.element().struct
        without = pl.struct(bare.field("role"), bare.field("content"))
        return frame.with_columns(pl.col(names).list.eval(without))
    lists = {
        name: [[_decoded(message) for message in messages] for messages in frame[name].to_list()] for name in names
    }
    kind = pa.infer_type([message for rows in lists.values() for messages in rows for message in messages])
    return frame.with_columns(pl.Series(name, pa.array(rows, pa.large_list(kind))) for name, rows in lists.items())


def _decoded(message: dict[str, Any]) -> dict[str, Any]:
    keys = json.loads(message["extra"] or "{}")
    if "tool_calls" in keys:
        keys["tool_calls"] = [_with_text_arguments(call) for call in keys["tool_calls"]]
    return {"role": message["role"], "content": message["content"], **keys}


def _with_text_arguments(call: dict[str, Any]) -> dict[str, Any]:
    """The call with its arguments as JSON text: those of different tools have no type in common."""
    function = call.get("function")
    if not isinstance(function, dict) or isinstance(function.get("arguments"), str | None):
        return call
    return call | {"function": function | {"arguments": compact_json(function["arguments"])}}
