"""What columns are made of: types, closed sets and checks that several tables share."""

from typing import Final

import numpy as np
import polars as pl

from .contract import Check, Column, Kind, at_least, column, within

# `extra`: what else of a message a chat template may read, as JSON (`importers.base.Message`); mostly null.
MESSAGES: Final = pl.List(pl.Struct({"role": pl.String, "content": pl.String, "extra": pl.String}))
# Keys of `extra` under which products and trainers keep a message's thoughts.
REASONING: Final = ("reasoning_content", "reasoning", "thinking")
VOTE: Final = pl.Enum(
    ["up", "down", "retracted", "unrated", "chosen", "rejected", "tied", "both_bad", "copied", "regenerated"]
)
# What stands behind an explicit comparison of two answers to one prompt.
COMPARISON_KIND: Final = pl.Enum(["preference", "arena", "ranking", "edit", "regenerate"])
LABEL: Final = pl.Enum(["desirable", "undesirable", "abstain"])
ABSTAIN_REASON: Final = pl.Enum(
    ["unrated", "retracted", "tied", "low_confidence", "comparison_only", "unreliable_raters"]
)
CONTRADICTION: Final = pl.Enum(["both_labels", "changed_mind", "one_label_rater", "both_chosen", "changed_choice"])
COMPARISON_DROP: Final = pl.Enum(["missing_side", "identical_text", "unclear", "repeated", "changed_mind", "screened"])
RESPONSE_DROP: Final = pl.Enum(["prompt_length", "completion_length", "language", "secret", "personal_data"])
PAIR_SOURCE: Final = pl.Enum(["votes", *COMPARISON_KIND.categories])
PAIR_DROP: Final = pl.Enum(["identical_text", "near_identical", "tied", "both_bad", "other_model", "other_source"])
LEAK_TEXT: Final = pl.Enum(["prompt", "completion", "conversation", "user"])
LEAK_MATCH: Final = pl.Enum(["exact", "near"])
SPLIT: Final = pl.Enum(["train", "validation", "test"])
SEQUENCE_ROLE: Final = pl.Enum(["matched", "mismatched"])
PHASE: Final = pl.Enum(["train", "validation"])
# How a sampled answer ended: by the model's end token, or at `generations.max_new_tokens`.
FINISH: Final = pl.Enum(["stop", "length"])
TIME: Final = pl.Datetime("us", "UTC")
TOKEN_IDS: Final = pl.List(pl.Int32)
# What an answer's id stands for.
TEXTS: Final = ("prompt", "tools", "completion", "completion_extra")

_ID_LENGTH: Final = 32


def _are_ids(values: pl.Series) -> bool:
    """Whether all values are hexadecimal digits: looked at together, in less time than each takes by itself."""
    if not (values.str.len_bytes() == _ID_LENGTH).all():
        return False
    digits = np.frombuffer(values.str.join("").item().encode(), dtype=np.uint8)
    # Of numbers without a sign, what is smaller than the first one is a large one.
    return bool(((digits - ord("0") < 10) | (digits - ord("a") < 6)).all())


ID: Final = Check(
    "str_matches('^[0-9a-f]{32}$')",
    "32 hexadecimal digits",
    lambda values: values.str.contains("^[0-9a-f]{32}$"),
    lambda values: values.map_batches(_are_ids, return_dtype=pl.Boolean, returns_scalar=True),
)
PROBABILITY: Final = within(0.0, 1.0)
NON_NEGATIVE: Final = at_least(0)
NON_EMPTY: Final = Check("str_length(1, None)", "not empty", lambda values: values.str.len_chars().ge(1))
# An answer without a text is one that calls tools, or thinks, and no more.
ANSWERED: Final = Check(
    "completion_or_extra",
    "not empty where completion_extra is missing",
    lambda completion: (completion != "") | pl.col("completion_extra").is_not_null(),
)


def identifier(*, unique: bool = False, nullable: bool = False) -> Column:
    """A column of ids made from content."""
    return column(pl.String, ID, unique=unique, nullable=nullable)


def optional(kind: Kind, *checks: Check) -> Column:
    """A column that a table may lack, and whose values may be missing."""
    return column(kind, *checks, nullable=True, required=False)


def texts(*, required: bool) -> dict[str, Column]:
    """The columns `TEXTS`; of a table whose rows name their answer by its id, they may be left to table `texts`."""
    return {
        "prompt": column(MESSAGES, required=required),
        "tools": column(pl.String, NON_EMPTY, nullable=True, required=required),
        "completion": column(pl.String, ANSWERED, required=required),
        "completion_extra": column(pl.String, NON_EMPTY, nullable=True, required=required),
    }
