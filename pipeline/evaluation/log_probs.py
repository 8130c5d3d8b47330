"""Refuses scored rows of a user whose log-probs are none: above 0 by more than rounding."""

from typing import Final

import polars as pl

from thumbline.evaluators.checks import COUNT_COLUMNS, ID_COLUMN, POLICY_COLUMNS, REFERENCE_COLUMNS
from thumbline.evaluators.types import RowKind

from ..errors import InputError, examples

# How far above 0 rounding may take a log-prob, a token: half precision, summed.
ROUNDING_NATS: Final = 1e-2


def check_log_probs(rows: pl.DataFrame, kind: RowKind, origin: str) -> None:
    """Refuse rows of which a text is more likely than certain.

    Args:
        rows: Scored pairs or unpaired rows; what else may be wrong with them is not looked at.
        kind: Which of the two.
        origin: Where they are from, for the message.

    Raises:
        InputError: A log-prob is above 0 by more than rounding.
    """
    for columns in (POLICY_COLUMNS[kind], REFERENCE_COLUMNS[kind]):
        for column, tokens in zip(columns, COUNT_COLUMNS[kind], strict=True):
            if not {column, tokens} <= set(rows.columns) or not _are_numbers(rows, column, tokens):
                continue
            # What is no number is refused by that name, where it is looked for.
            values = pl.col(column).cast(pl.Float64)
            above = rows.filter(values.is_finite() & (values > ROUNDING_NATS * pl.col(tokens)))
            if above.height:
                name = ID_COLUMN[kind]
                first = f"; first: {examples(above[name])}" if name in above.columns else ""
                raise InputError(
                    f"{origin}: {above.height:,} of {rows.height:,} rows have a {column} above 0 by more than rounding "
                    f"({ROUNDING_NATS:g} nats a token{first}). No log-prob is positive: where losses "
                    f"were written (negative log-likelihoods), change their sign."
                )


def _are_numbers(rows: pl.DataFrame, *columns: str) -> bool:
    return all(rows.schema[name].is_numeric() for name in columns)
