"""Refusals: tables of answers and judgements that no number should be computed from."""

from __future__ import annotations

import polars as pl

from .answers import AnswerTables
from .types import EvaluationError

_COLUMNS = {
    "prompts": ("prompt_id", "group_id"),
    "generations": (
        *("generation_id", "prompt_id", "model", "sample", "completion"),
        *("token_count", "finish", "reference_logps", "policy_logps"),
    ),
    "judgements": ("judge", "generation_id", "score", "reason"),
    "judged_pairs": (
        *("judge", "prompt_id", "model", "baseline", "generation_id", "baseline_generation_id"),
        *("model_first", "preference"),
    ),
    "thumbs_scores": (
        *("response_id", "group_id", "split", "probability_desirable", "weight"),
        *("score", "probability", "token_count"),
    ),
}
_KEYS = {
    "prompts": ("prompt_id",),
    "generations": ("generation_id",),
    "judgements": ("judge", "generation_id"),
    "judged_pairs": ("judge", "generation_id", "baseline_generation_id", "model_first"),
    "thumbs_scores": ("response_id",),
}
_NUMBERS = {
    "generations": ("reference_logps", "policy_logps"),
    "judgements": ("score",),
    "judged_pairs": ("preference",),
    "thumbs_scores": ("probability_desirable", "weight", "score", "probability"),
}
_SHARES = {"judged_pairs": ("preference",), "thumbs_scores": ("probability_desirable", "probability")}


def checked_answers(tables: AnswerTables) -> AnswerTables:
    """The tables themselves, where nothing is wrong with them.

    Raises:
        EvaluationError: A column is missing; a key is null or repeats; a number is NaN, infinite or, for a share,
            outside 0 to 1; an answer is to no known prompt, a judgement of no known answer. The message names how many
            and up to three.
    """
    for name, table in tables._asdict().items():
        missing = [column for column in _COLUMNS[name] if column not in table.columns]
        if missing:
            raise EvaluationError(f"{name}: column {', '.join(missing)} missing; there are {', '.join(table.columns)}")
        _check_keys(name, table)
        _check_numbers(name, table)
    _check_known("generations", tables.generations, "prompt_id", tables.prompts, "prompt_id")
    _check_known("judgements", tables.judgements, "generation_id", tables.generations, "generation_id")
    for column in ("generation_id", "baseline_generation_id"):
        _check_known("judged_pairs", tables.judged_pairs, column, tables.generations, "generation_id")
    return tables


def _check_keys(name: str, table: pl.DataFrame) -> None:
    keys = _KEYS[name]
    nulls = table.filter(pl.any_horizontal(pl.col(key).is_null() for key in keys)).height
    if nulls:
        raise EvaluationError(f"{name}: {nulls:,} of {table.height:,} rows have no {' or no '.join(keys)}")
    repeated = table.height - table.select(keys).n_unique()
    if repeated:
        twice = table.filter(pl.struct(keys).is_duplicated()).select(keys).unique().sort(keys)
        raise EvaluationError(
            f"{name}: {repeated:,} of {table.height:,} rows repeat a {', '.join(keys)} ({_examples(twice)}); "
            "keep one of each"
        )


def _check_numbers(name: str, table: pl.DataFrame) -> None:
    for column in _NUMBERS.get(name, ()):
        number = pl.col(column).cast(pl.Float64)
        bad, what = ~number.is_finite(), "NaN or infinite"
        if column in _SHARES.get(name, ()):
            bad, what = bad | ~number.is_between(0, 1), "outside 0 to 1"
        found = table.filter(bad)
        if found.height:
            raise EvaluationError(
                f"{name}: {found.height:,} of {table.height:,} rows have a {column} that is {what} "
                f"({_examples(found.select(_KEYS[name]).sort(_KEYS[name]))})"
            )


def _check_known(name: str, table: pl.DataFrame, column: str, others: pl.DataFrame, key: str) -> None:
    unknown = table.select(column).unique().join(others, left_on=column, right_on=key, how="anti").sort(column)
    if unknown.height:
        raise EvaluationError(f"{name}: {unknown.height:,} {column} are in no other table ({_examples(unknown)})")


def _examples(keys: pl.DataFrame) -> str:
    shown = ["/".join(map(str, row)) for row in keys.head(3).iter_rows()]
    return ", ".join(shown) + (", ..." if keys.height > 3 else "")
