"""One pandera schema a table: the contract between two stages.

Every table of the line is listed in `TABLES`. Ids are the first 32 hexadecimal digits of a SHA-256 of
content, never row numbers; closed sets are `pl.Enum`; times are UTC; log-probs are nats.
"""

from .checks import validate
from .columns import (
    ABSTAIN_REASON,
    COMPARISON_DROP,
    COMPARISON_KIND,
    LABEL,
    LEAK_MATCH,
    LEAK_TEXT,
    MESSAGES,
    PAIR_DROP,
    PAIR_SOURCE,
    REASONING,
    RESPONSE_DROP,
    SEQUENCE_ROLE,
    SPLIT,
    TEXTS,
    TIME,
    TOKEN_IDS,
    VOTE,
)
from .registry import TABLES, describe_table, has_columns_of, polars_schema

__all__ = [
    "ABSTAIN_REASON",
    "COMPARISON_DROP",
    "COMPARISON_KIND",
    "LABEL",
    "LEAK_MATCH",
    "LEAK_TEXT",
    "MESSAGES",
    "PAIR_DROP",
    "PAIR_SOURCE",
    "REASONING",
    "RESPONSE_DROP",
    "SEQUENCE_ROLE",
    "SPLIT",
    "TABLES",
    "TEXTS",
    "TIME",
    "TOKEN_IDS",
    "VOTE",
    "describe_table",
    "has_columns_of",
    "polars_schema",
    "validate",
]
