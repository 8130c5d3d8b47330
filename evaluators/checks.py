"""Refusals: scored rows that no number should be computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from .types import EvaluationError, EvaluationSettings, RowKind

ID_COLUMN: dict[RowKind, str] = {"pairs": "pair_id", "unpaired": "response_id"}
POLICY_COLUMNS: dict[RowKind, tuple[str, ...]] = {
    "pairs": ("policy_chosen_logps", "policy_rejected_logps"),
    "unpaired": ("policy_logps",),
}
REFERENCE_COLUMNS: dict[RowKind, tuple[str, ...]] = {
    "pairs": ("reference_chosen_logps", "reference_rejected_logps"),
    "unpaired": ("reference_logps",),
}
COUNT_COLUMNS: dict[RowKind, tuple[str, ...]] = {
    "pairs": ("chosen_token_count", "rejected_token_count"),
    "unpaired": ("token_count",),
}
OPTIONAL_COLUMNS: dict[RowKind, tuple[str, ...]] = {
    "pairs": ("chosen_better_probability", "loss"),
    "unpaired": ("loss",),
}


# Sums of squares of what is larger are no numbers; no text is so unlikely.
_MOST_NATS = 1e15
_UNIT = "; look at its unit (nats, summed)"


class _Rule(NamedTuple):
    """What a row must not be.

    Attributes:
        bad: True for a row that breaks it.
        what: What such a row has, for the message.
        advice: What to do about it.
    """

    bad: pl.Expr
    what: str
    advice: str = ""


def checked_rows(rows: pl.DataFrame, kind: RowKind, settings: EvaluationSettings) -> dict[str, pl.DataFrame]:
    """Each model's rows by name, sorted by id, so that every model has the same row at the same place.

    Args:
        rows: Scored pairs or scored unpaired rows, one a model and id.
        kind: Which of the two.
        settings: Says whether a reference is needed.

    Raises:
        EvaluationError: a column is missing or holds no numbers; the label is not Boolean; an id, group, model or
            label is null; an id repeats for one model; a log-prob is null, NaN, infinite or beyond 1e15; a token count
            is null, NaN, infinite or below 1; a probability is outside [0, 1]; the implicit reward lacks a reference;
            the models do not share the same rows. The message names how many and up to three ids.
    """
    _check_columns(rows, kind, settings)
    rules = [*_key_rules(kind), *_log_prob_rules(rows, kind, settings), *_other_rules(rows, kind)]
    _check_values(rows, kind, [*rules, *_size_rules(rows, kind)])
    name = ID_COLUMN[kind]
    parts = rows.partition_by("model", as_dict=True)
    ordered = {str(model): part.sort(name) for (model,), part in parts.items()}
    models = {model: ordered[model] for model in sorted(ordered)}
    _check_repeats(models, kind)
    _check_same_rows(rows, models, kind)
    return models


def check_slices(tables: Sequence[pl.DataFrame], settings: EvaluationSettings) -> None:
    """Refuse a slice column that no table has.

    Args:
        tables: The scored tables that are given.
        settings: Names the slice columns.

    Raises:
        EvaluationError: naming the columns that are missing and those that there are.
    """
    known = list(dict.fromkeys(name for table in tables for name in table.columns))
    missing = [name for name in settings.slice_columns if name not in known]
    if missing and known:
        raise EvaluationError(
            f"no scored table has the slice column {', '.join(missing)}; there are {', '.join(known)}"
        )


def _check_columns(rows: pl.DataFrame, kind: RowKind, settings: EvaluationSettings) -> None:
    label = ("label",) if kind == "unpaired" else ()
    needed = (ID_COLUMN[kind], "group_id", "model", *label, *POLICY_COLUMNS[kind], *COUNT_COLUMNS[kind])
    reference = REFERENCE_COLUMNS[kind] if settings.needs_reference else ()
    missing = [name for name in (*needed, *reference) if name not in rows.columns]
    if missing:
        raise EvaluationError(
            f"scored {kind}: column {', '.join(missing)} missing; there are {', '.join(rows.columns)}"
        )
    if label and rows.schema["label"] != pl.Boolean:
        raise EvaluationError(
            f"scored {kind}: label is of type {rows.schema['label']}, must be Boolean (true for desirable); cast it"
        )
    numbers = (*POLICY_COLUMNS[kind], *REFERENCE_COLUMNS[kind], *COUNT_COLUMNS[kind], *OPTIONAL_COLUMNS[kind])
    types = {name: rows.schema[name] for name in numbers if name in rows.columns}
    # A column of nulls alone has no type of its own; what it lacks is said with its ids.
    wrong = [f"{name} ({of})" for name, of in types.items() if not _is_number(of) and of != pl.Null]
    if wrong:
        raise EvaluationError(f"scored {kind}: {', '.join(wrong)} must hold numbers; cast or parse them first")


def _is_number(of: pl.DataType) -> bool:
    """Whether arrays can hold it: decimals and integers of 128 bits they cannot."""
    return of.is_float() or (of.is_integer() and not str(of).endswith("128"))


def _key_rules(kind: RowKind) -> list[_Rule]:
    label = ("label",) if kind == "unpaired" else ()
    return [
        _Rule(pl.col(column).is_null(), f"no {column}") for column in (ID_COLUMN[kind], "group_id", "model", *label)
    ]


def _log_prob_rules(rows: pl.DataFrame, kind: RowKind, settings: EvaluationSettings) -> list[_Rule]:
    rules = [
        _Rule(~_finite(column).fill_null(False), f"a {column} that is null, NaN or infinite")
        for column in POLICY_COLUMNS[kind]
    ]
    for column in REFERENCE_COLUMNS[kind]:
        if column in rows.columns:
            rules.append(_Rule(~_finite(column), f"a {column} that is NaN or infinite"))
        if settings.needs_reference:
            advice = "; score the reference, or read the rows with reward sum_logps or mean_logps"
            rules.append(_Rule(pl.col(column).is_null(), f"no {column}, which the implicit reward needs", advice))
    return rules


def _size_rules(rows: pl.DataFrame, kind: RowKind) -> list[_Rule]:
    columns = (*POLICY_COLUMNS[kind], *REFERENCE_COLUMNS[kind], *OPTIONAL_COLUMNS[kind])
    return [
        _Rule(pl.col(column).cast(pl.Float64).abs() > _MOST_NATS, f"a {column} beyond {_MOST_NATS:g}", _UNIT)
        for column in columns
        if column in rows.columns
    ]


def _other_rules(rows: pl.DataFrame, kind: RowKind) -> list[_Rule]:
    rules = [
        _Rule(
            ~((pl.col(column) >= 1) & _finite(column)).fill_null(False),
            f"a {column} that is null, NaN, infinite or below 1",
        )
        for column in COUNT_COLUMNS[kind]
    ]
    rules += [
        _Rule(~_finite(column), f"a {column} that is NaN or infinite")
        for column in OPTIONAL_COLUMNS[kind]
        if column in rows.columns
    ]
    if kind == "pairs" and "chosen_better_probability" in rows.columns:
        outside = ~pl.col("chosen_better_probability").is_between(0, 1)
        rules.append(_Rule(outside, "a chosen_better_probability outside 0 to 1"))
    return rules


def _finite(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64).is_finite()


def _check_values(rows: pl.DataFrame, kind: RowKind, rules: Sequence[_Rule]) -> None:
    """Refuse rows that break a rule: all rules in one pass, the first that is broken told."""
    broken = rows.lazy().select(rule.bad.sum().alias(str(place)) for place, rule in enumerate(rules)).collect().row(0)
    name = ID_COLUMN[kind]
    for rule, count in zip(rules, broken, strict=True):
        if count:
            found = rows.filter(rule.bad)
            ids = found.get_column(name).unique().sort().to_list()
            models = ", ".join(str(model) for model in found.get_column("model").unique().sort().to_list())
            raise EvaluationError(
                f"scored {kind}: {count:,} of {rows.height:,} rows have {rule.what} "
                f"(model {models}; {name} {_examples(ids)}){rule.advice}"
            )


def _check_repeats(models: Mapping[str, pl.DataFrame], kind: RowKind) -> None:
    name = ID_COLUMN[kind]
    # Rows are sorted by id, so that a repeated one follows itself.
    repeated = [part.filter(pl.col(name) == pl.col(name).shift(1)).get_column(name) for part in models.values()]
    ids = pl.concat(repeated).unique().sort().to_list()
    if ids:
        raise EvaluationError(
            f"scored {kind}: {len(ids):,} {name} repeat for one model ({_examples(ids)}); "
            f"keep one row for each model and {name}"
        )


def _check_same_rows(rows: pl.DataFrame, models: Mapping[str, pl.DataFrame], kind: RowKind) -> None:
    """Every model has every row, in the same group (and with the same label)."""
    shared = ["group_id", "label"] if kind == "unpaired" else ["group_id"]
    columns = [ID_COLUMN[kind], *shared]
    parts = [part.select(columns) for part in models.values()]
    if all(part.equals(parts[0]) for part in parts[1:]):
        return
    name = ID_COLUMN[kind]
    seen = rows.group_by(name).agg(pl.len().alias("models"), *(pl.col(column).n_unique() for column in shared))
    absent = seen.filter(pl.col("models") < len(models))
    if absent.height:
        have = ", ".join(f"{model} has {part.height:,}" for model, part in models.items())
        raise EvaluationError(
            f"scored {kind}: {absent.height:,} of {seen.height:,} {name} lack a row for some model "
            f"({_examples(absent.get_column(name).sort().to_list())}); {have}; score them all on the same rows"
        )
    for column in shared:
        moved = seen.filter(pl.col(column) > 1)
        if moved.height:
            raise EvaluationError(
                f"scored {kind}: {moved.height:,} {name} differ in {column} between models "
                f"({_examples(moved.get_column(name).sort().to_list())}); {column} belongs to the row, not to the model"
            )


def _examples(ids: Sequence[object]) -> str:
    return ", ".join(str(value) for value in ids[:3]) + (", ..." if len(ids) > 3 else "")
