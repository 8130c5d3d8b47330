"""Message columns as TRL reads them: role and content, or where messages carry more, each as the JSON that it is."""

import json
from collections.abc import Mapping
from typing import Final

import polars as pl

from .rows import ANSWERS, Kind, message_fields

_PLAIN: Final = ("role", "content")
_JSON_MESSAGES: Final = {"feature": {"_type": "Json"}, "_type": "List"}


def message_columns(kind: Kind) -> tuple[str, ...]:
    """Columns of messages."""
    return ("prompt", *ANSWERS[kind])


def carries_more(rows: pl.DataFrame, kind: Kind) -> bool:
    """Whether any message has more than role and content."""
    return any(
        rows[name].list.eval(pl.element().struct.field("extra").is_not_null()).list.any().any()
        for name in message_columns(kind)
        if "extra" in message_fields(rows, name)
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
    `tool_calls` would find one.
    """
    return rows.with_columns(pl.col(name).list.eval(_as_json()) for name in message_columns(kind))


def _as_json() -> pl.Expr:
    message = pl.element().struct
    base = pl.struct(*(message.field(field) for field in _PLAIN)).struct.json_encode()
    extra = message.field("extra")
    joined = pl.concat_str(base.str.head(-1), pl.lit(","), extra.str.slice(1))
    return pl.when(extra.is_null()).then(base).otherwise(joined)


def features_of(rows: pl.DataFrame, kind: Kind) -> Mapping[str, str]:
    """Metadata that tells `datasets` that the messages of `rows` are JSON, for the Parquet file."""
    from datasets import Features

    schema = rows.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    described = Features.from_arrow_schema(schema).to_dict()
    described |= dict.fromkeys(message_columns(kind), _JSON_MESSAGES)
    return {"huggingface": json.dumps({"info": {"features": described}})}
