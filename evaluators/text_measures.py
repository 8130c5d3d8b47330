"""What can be counted in an answer's text without a judge: its length, what it repeats, whether it refuses."""

from __future__ import annotations

from typing import Final

import polars as pl

# Scripts that put no space between words count by the character; other words are cut into pieces of eight letters, so
# that one endless word ("Hiiiiii...") repeats itself too.
_UNIT: Final = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]\p{M}*|[\p{L}\p{M}\p{N}]{1,8}"
)
# Units of a run that is looked for again.
RUN: Final = 4
# Openings of English refusals; other languages are not recognised.
REFUSAL_OPENINGS: Final = (
    "i'm sorry",
    "i am sorry",
    "i'm really sorry",
    "sorry, i",
    "sorry, but",
    "i apologize",
    "i apologise",
    "i can't",
    "i cannot",
    "i can not",
    "i won't",
    "i will not",
    "i'm unable",
    "i am unable",
    "i'm not able",
    "i am not able",
    "i'm not comfortable",
    "i must decline",
    "i have to decline",
    "as an ai",
    "as a language model",
    "as a large language model",
    "unfortunately, i can't",
    "unfortunately, i cannot",
)
_APOSTROPHE: Final = "\u2019"
# Answers taken apart at a time, so that the units of a hundred thousand long ones are never held together.
_BLOCK: Final = 10_000


def characters(completions: pl.Series) -> pl.Series:
    """(answers,) characters (code points), float64."""
    return completions.str.len_chars().cast(pl.Float64)


def is_empty(completions: pl.Series) -> pl.Series:
    """(answers,) whether nothing but white space was written."""
    return completions.str.strip_chars() == ""


def is_refusal(completions: pl.Series) -> pl.Series:
    """(answers,) whether it opens as an English refusal does (`REFUSAL_OPENINGS`), whatever case and apostrophe."""
    start = (
        completions.str.strip_chars_start(" \t\r\n*_\"'>#")
        .str.slice(0, 60)
        .str.to_lowercase()
        .str.replace_all(_APOSTROPHE, "'")
    )
    return start.str.contains(rf"^(?:{'|'.join(REFUSAL_OPENINGS)})\b")


def repetition(completions: pl.Series) -> pl.Series:
    """(answers,) the share of runs of four words that stood before in the same answer; 0 for a shorter answer.

    One less the share of distinct 4-grams. Words are what `_UNIT` finds, in lower case.

    Source: Welleck et al. (2020), "Neural text generation with unlikelihood training": seq-rep-4.
    """
    blocks = [completions.slice(start, _BLOCK) for start in range(0, completions.len(), _BLOCK)]
    return pl.concat([_repetition(block) for block in blocks]) if blocks else pl.Series([], dtype=pl.Float64)


def _repetition(completions: pl.Series) -> pl.Series:
    unit = pl.col("text").str.to_lowercase().str.extract_all(_UNIT)
    units = completions.to_frame("text").with_row_index("answer").select("answer", unit.alias("unit")).explode("unit")
    later = [pl.col("unit").hash(seed=place).shift(-place).over("answer") for place in range(RUN)]
    runs = units.with_columns(
        # A run that would reach past the answer's end is none.
        run=pl.when(later[-1].is_not_null() & pl.col("unit").is_not_null()).then(
            pl.struct(*(part.alias(str(place)) for place, part in enumerate(later))).hash()
        )
    )
    counted = runs.group_by("answer").agg(all=pl.col("run").count(), distinct=pl.col("run").drop_nulls().n_unique())
    share = pl.when(pl.col("all") > 0).then(1.0 - pl.col("distinct") / pl.col("all")).otherwise(0.0)
    # An answer without any unit has no row here.
    found = (
        completions.to_frame("text")
        .with_row_index("answer")
        .join(counted, on="answer", how="left", maintain_order="left")
    )
    return found.select(share.alias("repetition")).to_series()
