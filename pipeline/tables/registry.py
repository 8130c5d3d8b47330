"""Every table of the line by name, and what each is to polars and to a reader."""

from typing import Final

import polars as pl

from ..errors import TableError, unknown_name
from .columns import TEXTS
from .contract import Kind, Table
from .data import (
    ANSWER_TEXTS,
    COMPARISON_DROPS,
    COMPARISONS,
    CONTRADICTIONS,
    EVENTS,
    LEAKAGE,
    PAIR_DROPS,
    PAIR_YIELD,
    PAIRS,
    RATERS,
    REJECTS,
    RESPONSE_DROPS,
    RESPONSES,
    SPLITS,
    UNPAIRED,
)
from .meanings import meaning_of
from .models import (
    GENERATION_PROMPTS,
    GENERATIONS,
    JUDGED_PAIRS,
    JUDGEMENTS,
    LOGPS,
    METRICS,
    PARITY,
    ROW_SEQUENCES,
    SCORED_PAIRS,
    SCORED_UNPAIRED,
    SEQUENCE_DROPS,
    SEQUENCES,
    THUMBS_SCORES,
    TRAINING_LOG,
)

TABLES: Final[dict[str, Table]] = {
    "events": EVENTS,
    "texts": ANSWER_TEXTS,
    "rejects": REJECTS,
    "responses": RESPONSES,
    "comparisons": COMPARISONS,
    "comparison_drops": COMPARISON_DROPS,
    "raters": RATERS,
    "contradictions": CONTRADICTIONS,
    "response_drops": RESPONSE_DROPS,
    "unpaired": UNPAIRED,
    "pairs": PAIRS,
    "pair_yield": PAIR_YIELD,
    "pair_drops": PAIR_DROPS,
    "splits": SPLITS,
    "leakage": LEAKAGE,
    "sequences": SEQUENCES,
    "row_sequences": ROW_SEQUENCES,
    "sequence_drops": SEQUENCE_DROPS,
    "thumbs_log": TRAINING_LOG,
    "thumbs_scores": THUMBS_SCORES,
    "reference": LOGPS,
    "policy": LOGPS,
    "parity": PARITY,
    "training_log": TRAINING_LOG,
    "generation_prompts": GENERATION_PROMPTS,
    "generations": GENERATIONS,
    "judgements": JUDGEMENTS,
    "judged_pairs": JUDGED_PAIRS,
    "scored_pairs": SCORED_PAIRS,
    "scored_unpaired": SCORED_UNPAIRED,
    "metrics": METRICS,
}


def table_named(table: str) -> Table:
    """What is declared of `table`.

    Raises:
        TableError: There is no table of that name.
    """
    if table not in TABLES:
        raise TableError(unknown_name("table", table, TABLES))
    return TABLES[table]


def polars_schema(table: str, *, optional: bool = False) -> pl.Schema:
    """The columns and polars types of `table`, in order; with `optional`, those too that it may lack."""
    columns = table_named(table).columns
    return pl.Schema({name: column.kind for name, column in columns.items() if column.required or optional})


def has_columns_of(table: str, schema: pl.Schema) -> bool:
    """Whether a frame of this schema has the columns of `table`, in order and of their types; some may be optional."""
    known = polars_schema(table, optional=True)
    required = set(polars_schema(table))
    # Texts that a table may lack are all there, or none of them is.
    texts = [name in schema for name in TEXTS if name in known and name not in required]
    return (
        required <= set(schema)
        and len(set(texts)) <= 1
        and schema == pl.Schema({name: known[name] for name in known if name in schema})
    )


def describe_table(table: str) -> list[dict[str, str]]:
    """One row a column of `table`: type, what its values must fit, whether they may be missing, and their meaning."""
    return [
        {
            "column": name,
            "type": _type(column.kind),
            "values": ", ".join(check.words for check in column.checks),
            "missing": "the column too" if not column.required else "allowed" if column.nullable else "no",
            "meaning": meaning_of(table, name),
        }
        for name, column in table_named(table).columns.items()
    ]


def _type(kind: Kind) -> str:
    return " | ".join(kind.categories) if isinstance(kind, pl.Enum) else str(kind)
