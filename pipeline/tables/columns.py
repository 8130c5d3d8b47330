"""What columns are made of: types, closed sets and checks that several tables share."""

from typing import Final

import pandera.polars as pa
import polars as pl

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

ID = pa.Check.str_matches(r"^[0-9a-f]{32}$")
PROBABILITY = pa.Check.in_range(0.0, 1.0)
NON_NEGATIVE = pa.Check.ge(0)
NON_EMPTY = pa.Check.str_length(min_value=1)
# An answer without a text is one that calls tools, or thinks, and no more.
ANSWERED = pa.Check(
    lambda data: data.lazyframe.select((pl.col("completion") != "") | pl.col("completion_extra").is_not_null()),
    name="completion_or_extra",
)


def identifier(*, unique: bool = False, nullable: bool = False) -> pa.Column:
    """A column of ids made from content."""
    return pa.Column(pl.String, ID, unique=unique, nullable=nullable)


def optional(kind: type[pl.DataType] | pl.DataType, check: pa.Check | None = None) -> pa.Column:
    """A column that a table may lack, and whose values may be missing."""
    return pa.Column(kind, check, nullable=True, required=False)


def texts(*, required: bool) -> dict[str, pa.Column]:
    """The columns `TEXTS`; of a table whose rows name their answer by its id, they may be left to table `texts`."""
    return {
        "prompt": pa.Column(MESSAGES, required=required),
        "tools": pa.Column(pl.String, NON_EMPTY, nullable=True, required=required),
        "completion": pa.Column(pl.String, ANSWERED, required=required),
        "completion_extra": pa.Column(pl.String, NON_EMPTY, nullable=True, required=required),
    }


def schema(columns: dict[str, pa.Column], unique: list[str] | None = None) -> pa.DataFrameSchema:
    """A table of exactly these columns in this order; the columns `unique` together name a row."""
    return pa.DataFrameSchema(columns, strict=True, ordered=True, unique=unique)
