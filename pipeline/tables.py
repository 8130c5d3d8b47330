"""One pandera schema a table: the contract between two stages.

Every table of the line is listed in `TABLES`. Ids are the first 32 hexadecimal digits of a SHA-256 of
content, never row numbers; closed sets are `pl.Enum`; times are UTC; log-probs are nats.
"""

from typing import Final

import pandera.polars as pa
import polars as pl

from .errors import InputError, TableError, examples, unknown_name

MESSAGES: Final = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
VOTE: Final = pl.Enum(
    ["up", "down", "retracted", "unrated", "chosen", "rejected", "tied", "both_bad", "copied", "regenerated"]
)
# What stands behind an explicit comparison of two answers to one prompt.
COMPARISON_KIND: Final = pl.Enum(["preference", "arena", "ranking", "edit", "regenerate"])
LABEL: Final = pl.Enum(["desirable", "undesirable", "abstain"])
ABSTAIN_REASON: Final = pl.Enum(
    ["unrated", "retracted", "tied", "low_confidence", "comparison_only", "unreliable_raters"]
)
CONTRADICTION: Final = pl.Enum(["both_labels", "changed_mind", "one_label_rater"])
RESPONSE_DROP: Final = pl.Enum(["prompt_length", "completion_length", "language", "secret", "personal_data"])
PAIR_SOURCE: Final = pl.Enum(["votes", *COMPARISON_KIND.categories])
PAIR_DROP: Final = pl.Enum(["identical_text", "near_identical", "tied", "both_bad", "other_model"])
LEAK_TEXT: Final = pl.Enum(["prompt", "completion"])
LEAK_MATCH: Final = pl.Enum(["exact", "near"])
SPLIT: Final = pl.Enum(["train", "validation", "test"])
SEQUENCE_ROLE: Final = pl.Enum(["matched", "mismatched"])
PHASE: Final = pl.Enum(["train", "validation"])
TIME: Final = pl.Datetime("us", "UTC")
TOKEN_IDS: Final = pl.List(pl.Int32)

_ID = pa.Check.str_matches(r"^[0-9a-f]{32}$")
_PROBABILITY = pa.Check.in_range(0.0, 1.0)
_NON_NEGATIVE = pa.Check.ge(0)
_NON_EMPTY = pa.Check.str_length(min_value=1)


def _identifier(*, unique: bool = False, nullable: bool = False) -> pa.Column:
    return pa.Column(pl.String, _ID, unique=unique, nullable=nullable)


def _optional(kind: type[pl.DataType] | pl.DataType, check: pa.Check | None = None) -> pa.Column:
    """A column that a table may lack, and whose values may be missing."""
    return pa.Column(kind, check, nullable=True, required=False)


def _schema(columns: dict[str, pa.Column], unique: list[str] | None = None) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=True, ordered=True, unique=unique)


EVENTS: Final = _schema(
    {
        "event_id": _identifier(unique=True),
        "prompt_id": _identifier(),
        "response_id": _identifier(),
        "source_file": pa.Column(pl.String, _NON_EMPTY),
        "source_line": pa.Column(pl.Int64, _NON_NEGATIVE),
        "format": pa.Column(pl.String, _NON_EMPTY),
        "conversation_id": pa.Column(pl.String, nullable=True),
        "user_id": pa.Column(pl.String, nullable=True),
        "model": pa.Column(pl.String, nullable=True),
        "prompt": pa.Column(MESSAGES),
        "completion": pa.Column(pl.String, _NON_EMPTY),
        "vote": pa.Column(VOTE),
        "comparison_id": pa.Column(pl.String, nullable=True),
        "comparison_kind": pa.Column(COMPARISON_KIND, nullable=True),
        "propensity": pa.Column(pl.Float64, [pa.Check.gt(0.0), pa.Check.le(1.0)], nullable=True),
        "position": pa.Column(pl.Int64, pa.Check.ge(1), nullable=True),
        "created_at": pa.Column(TIME, nullable=True),
        "deliveries": pa.Column(pl.Int64, pa.Check.ge(1)),
    }
)
REJECTS: Final = _schema(
    {
        "source_file": pa.Column(pl.String, _NON_EMPTY),
        "source_line": pa.Column(pl.Int64, _NON_NEGATIVE),
        "reason": pa.Column(pl.String, _NON_EMPTY),
        "detail": pa.Column(pl.String),
        "raw": pa.Column(pl.String),
    }
)
RESPONSES: Final = _schema(
    {
        "response_id": _identifier(unique=True),
        "prompt_id": _identifier(),
        "prompt": pa.Column(MESSAGES),
        "completion": pa.Column(pl.String, _NON_EMPTY),
        "model": pa.Column(pl.String, nullable=True),
        "models": pa.Column(pl.List(pl.String)),
        "conversation_ids": pa.Column(pl.List(pl.String)),
        "user_ids": pa.Column(pl.List(pl.String)),
        "oldest_event_at": pa.Column(TIME, nullable=True),
        "newest_event_at": pa.Column(TIME, nullable=True),
        "n_events": pa.Column(pl.Int64, pa.Check.ge(1)),
        "n_up": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_down": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_retracted": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_copied": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_regenerated": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_compared": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_tied": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_both_bad": pa.Column(pl.Int64, _NON_NEGATIVE),
        "up_evidence": pa.Column(pl.Float64, _NON_NEGATIVE),
        "down_evidence": pa.Column(pl.Float64, _NON_NEGATIVE),
        "posterior_mean": pa.Column(pl.Float64, _PROBABILITY),
        "posterior_low": pa.Column(pl.Float64, _PROBABILITY),
        "posterior_high": pa.Column(pl.Float64, _PROBABILITY),
        "probability_desirable": pa.Column(pl.Float64, _PROBABILITY),
        "label": pa.Column(LABEL),
        "abstain_reason": pa.Column(ABSTAIN_REASON, nullable=True),
        "weight": pa.Column(pl.Float64, _PROBABILITY),
        "exposure_weight": pa.Column(pl.Float64, pa.Check.ge(1.0), nullable=True),
        "recency_weight": pa.Column(pl.Float64, _PROBABILITY),
    }
)
RESPONSE_DROPS: Final = _schema(
    {
        "response_id": _identifier(unique=True),
        "prompt_id": _identifier(),
        "n_events": pa.Column(pl.Int64, pa.Check.ge(1)),
        "reason": pa.Column(RESPONSE_DROP),
        "detail": pa.Column(pl.String),
    }
)
CONTRADICTIONS: Final = _schema(
    {
        "kind": pa.Column(CONTRADICTION),
        "prompt_id": _identifier(nullable=True),
        "response_id": _identifier(nullable=True),
        "user_id": pa.Column(pl.String, nullable=True),
        "n_up": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_down": pa.Column(pl.Int64, _NON_NEGATIVE),
    },
    unique=["kind", "response_id", "user_id"],
)
RATERS: Final = _schema(
    {
        "user_id": pa.Column(pl.String, unique=True),
        "n_votes": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_up": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_down": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_changed": pa.Column(pl.Int64, _NON_NEGATIVE),
        "one_label": pa.Column(pl.Boolean),
        "up_if_good": pa.Column(pl.Float64, _PROBABILITY, nullable=True),
        "up_if_bad": pa.Column(pl.Float64, _PROBABILITY, nullable=True),
        "weight": pa.Column(pl.Float64, _PROBABILITY),
    }
)
COMPARISONS: Final = _schema(
    {
        "prompt_id": _identifier(),
        "kind": pa.Column(COMPARISON_KIND),
        "chosen_response_id": _identifier(),
        "rejected_response_id": _identifier(),
        "n_chosen": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_rejected": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_tied": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_both_bad": pa.Column(pl.Int64, _NON_NEGATIVE),
    },
    unique=["kind", "chosen_response_id", "rejected_response_id"],
)
UNPAIRED: Final = _schema(
    {
        "response_id": _identifier(unique=True),
        "prompt_id": _identifier(),
        "prompt": pa.Column(MESSAGES),
        "completion": pa.Column(MESSAGES),
        "label": pa.Column(pl.Boolean),
        "weight": pa.Column(pl.Float64, _NON_NEGATIVE),
        "probability_desirable": pa.Column(pl.Float64, _PROBABILITY),
    }
)
PAIRS: Final = _schema(
    {
        "pair_id": _identifier(unique=True),
        "prompt_id": _identifier(),
        "prompt": pa.Column(MESSAGES),
        "chosen": pa.Column(MESSAGES),
        "rejected": pa.Column(MESSAGES),
        "chosen_response_id": _identifier(),
        "rejected_response_id": _identifier(),
        "pair_source": pa.Column(PAIR_SOURCE),
        "margin": pa.Column(pl.Float64, _PROBABILITY),
        "chosen_better_probability": pa.Column(pl.Float64, _PROBABILITY),
        # Only where the run asks for it: `pairs.weights`.
        "weight": pa.Column(pl.Float64, _NON_NEGATIVE, required=False),
    }
)
PAIR_DROPS: Final = _schema(
    {
        "prompt_id": _identifier(),
        "chosen_response_id": _identifier(),
        "rejected_response_id": _identifier(),
        "pair_source": pa.Column(PAIR_SOURCE),
        "reason": pa.Column(PAIR_DROP),
        "similarity": pa.Column(pl.Float64, _PROBABILITY, nullable=True),
    },
    unique=["pair_source", "chosen_response_id", "rejected_response_id"],
)
PAIR_YIELD: Final = _schema(
    {
        "outcome": pa.Column(pl.String, _NON_EMPTY, unique=True),
        "n_prompts": pa.Column(pl.Int64, _NON_NEGATIVE),
        "advice": pa.Column(pl.String),
    }
)
SPLITS: Final = _schema(
    {
        "prompt_id": _identifier(unique=True),
        "group_id": _identifier(),
        "split": pa.Column(SPLIT),
    }
)
LEAKAGE: Final = _schema(
    {
        "text": pa.Column(LEAK_TEXT),
        "match": pa.Column(LEAK_MATCH),
        "left": pa.Column(pl.String, _NON_EMPTY),
        "right": pa.Column(pl.String, _NON_EMPTY),
        "n_right": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_leaked": pa.Column(pl.Int64, _NON_NEGATIVE, nullable=True),
    },
    unique=["text", "match", "left", "right"],
)
SEQUENCES: Final = _schema(
    {
        "sequence_id": _identifier(unique=True),
        "prompt_token_ids": pa.Column(TOKEN_IDS),
        "completion_token_ids": pa.Column(TOKEN_IDS),
        "prompt_token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "completion_token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
    }
)
ROW_SEQUENCES: Final = _schema(
    {
        "response_id": _identifier(),
        "role": pa.Column(SEQUENCE_ROLE),
        "sequence_id": _identifier(),
        "split": pa.Column(SPLIT),
    },
    unique=["response_id", "role"],
)
SEQUENCE_DROPS: Final = _schema(
    {
        "response_id": _identifier(unique=True),
        "reason": pa.Column(pl.String, _NON_EMPTY),
        "detail": pa.Column(pl.String),
    }
)
LOGPS: Final = _schema(
    {
        "sequence_id": _identifier(unique=True),
        "logps": pa.Column(pl.Float64, pa.Check.le(0.0)),
        "token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        # Only where the run asks for it: `reference.token_logps`.
        "token_logps": pa.Column(pl.List(pl.Float32), required=False),
    }
)
PARITY: Final = _schema(
    {
        "sequence_id": _identifier(unique=True),
        "token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "stored_logps": pa.Column(pl.Float64),
        "row_logps": pa.Column(pl.Float64),
        "batched_logps": pa.Column(pl.Float64),
    }
)
TRAINING_LOG: Final = _schema(
    {
        "step": pa.Column(pl.Int64, _NON_NEGATIVE),
        "phase": pa.Column(PHASE),
        "metric": pa.Column(pl.String, _NON_EMPTY),
        "value": pa.Column(pl.Float64),
    },
    unique=["step", "phase", "metric"],
)
# What held-out rows can be told apart by; of a pair, the model is that of chosen and the votes are those of both sides.
_SLICES: Final = {
    "response_model": _optional(pl.String),
    "script": _optional(pl.String),
    "turns": _optional(pl.Int64, _NON_NEGATIVE),
    "votes": _optional(pl.Int64, _NON_NEGATIVE),
}
SCORED_PAIRS: Final = _schema(
    {
        "pair_id": _identifier(),
        "group_id": _identifier(),
        "model": pa.Column(pl.String, _NON_EMPTY),
        "policy_chosen_logps": pa.Column(pl.Float64),
        "policy_rejected_logps": pa.Column(pl.Float64),
        "reference_chosen_logps": pa.Column(pl.Float64, nullable=True),
        "reference_rejected_logps": pa.Column(pl.Float64, nullable=True),
        "chosen_token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "rejected_token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "chosen_better_probability": pa.Column(pl.Float64, _PROBABILITY),
        "loss": _optional(pl.Float64),
        "pair_source": _optional(PAIR_SOURCE),
        **_SLICES,
    },
    unique=["pair_id", "model"],
)
SCORED_UNPAIRED: Final = _schema(
    {
        "response_id": _identifier(),
        "group_id": _identifier(),
        "model": pa.Column(pl.String, _NON_EMPTY),
        "label": pa.Column(pl.Boolean),
        "policy_logps": pa.Column(pl.Float64),
        "reference_logps": pa.Column(pl.Float64, nullable=True),
        "token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "loss": _optional(pl.Float64),
        **_SLICES,
    },
    unique=["response_id", "model"],
)
METRICS: Final = _schema(
    {
        "evaluator": pa.Column(pl.String, _NON_EMPTY),
        "version": pa.Column(pl.Int64, pa.Check.ge(1)),
        "metric": pa.Column(pl.String, _NON_EMPTY),
        "model": pa.Column(pl.String, _NON_EMPTY),
        "compared_with": pa.Column(pl.String, nullable=True),
        "slice": pa.Column(pl.String, nullable=True),
        "value": pa.Column(pl.Float64, nullable=True),
        "ci_low": pa.Column(pl.Float64, nullable=True),
        "ci_high": pa.Column(pl.Float64, nullable=True),
        "n": pa.Column(pl.Int64, _NON_NEGATIVE),
        "n_groups": pa.Column(pl.Int64, _NON_NEGATIVE),
        "unit": pa.Column(pl.String),
        "reason": pa.Column(pl.String, nullable=True),
        "standard_error": pa.Column(pl.Float64, _NON_NEGATIVE, nullable=True),
    }
)

TABLES: Final[dict[str, pa.DataFrameSchema]] = {
    "events": EVENTS,
    "rejects": REJECTS,
    "responses": RESPONSES,
    "comparisons": COMPARISONS,
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
    "reference": LOGPS,
    "policy": LOGPS,
    "parity": PARITY,
    "training_log": TRAINING_LOG,
    "scored_pairs": SCORED_PAIRS,
    "scored_unpaired": SCORED_UNPAIRED,
    "metrics": METRICS,
}
_ROWS_PER_CHECK = 1_000_000


def polars_schema(table: str, *, optional: bool = False) -> pl.Schema:
    """The columns and polars types of `table`, in order; with `optional`, those too that it may lack."""
    columns = _lookup(table).columns
    return pl.Schema({name: column.dtype.type for name, column in columns.items() if column.required or optional})


def has_columns_of(table: str, schema: pl.Schema) -> bool:
    """Whether a frame of this schema has the columns of `table`, in order and of their types; some may be optional."""
    known = polars_schema(table, optional=True)
    return set(polars_schema(table)) <= set(schema) and schema == pl.Schema(
        {name: known[name] for name in known if name in schema}
    )


def describe_table(table: str) -> list[dict[str, str]]:
    """One row a column of `table`: its type, what its values must fit, and whether they may be missing."""
    return [
        {
            "column": name,
            "type": str(column.dtype),
            "values": "; ".join(str(check.error or check.name) for check in column.checks),
            "missing": "the column too" if not column.required else "allowed" if column.nullable else "no",
        }
        for name, column in _lookup(table).columns.items()
    ]


def validate(table: str, frame: pl.DataFrame, *, origin: str | None = None) -> pl.DataFrame:
    """`frame` itself, once every column type and every value fits the schema of `table`.

    Args:
        table: A name in `TABLES`.
        frame: Collected rows; a LazyFrame would get a check of types only.
        origin: A file that the user gave. A broken table is then the user's input, not our bug.

    Raises:
        TableError: Values or types break the schema (InputError when `origin` is given). The message names
            the columns, the checks and the counts, never the values: they may be private text.
    """
    schema = _lookup(table)
    problems: dict[str, int] = {}
    for batch in frame.iter_slices(_ROWS_PER_CHECK) if frame.height else [frame]:
        for problem in _problems(schema, batch):
            problems[problem] = problems.get(problem, 0) + 1
    problems.update(_repeats(schema, frame))
    if problems:
        what = "; ".join(f"{problem} ({count})" for problem, count in sorted(problems.items()))
        message = f"{table}: {frame.height} rows break the table's contract: {what}."
        if origin is not None:
            raise InputError(f"{origin}: {message} See `thumbline tables {table}` for what it must hold.")
        raise TableError(message)
    return frame


def _lookup(table: str) -> pa.DataFrameSchema:
    if table not in TABLES:
        raise TableError(unknown_name("table", table, TABLES))
    return TABLES[table]


def _problems(schema: pa.DataFrameSchema, batch: pl.DataFrame) -> list[str]:
    """One entry a failed case: the column and the check, without the value."""
    try:
        schema.validate(batch, lazy=True)
    except pa.errors.SchemaErrors as errors:
        return [_describe(row) for row in errors.failure_cases.iter_rows(named=True)]
    return []


def _describe(case: dict[str, object]) -> str:
    """A failed case in words; a missing or a surplus column has its name where values have theirs."""
    if case["check"] == "column_in_dataframe":
        return f"column '{case['failure_case']}' is missing"
    if case["check"] == "column_in_schema":
        return f"column '{case['failure_case']}' is not part of it"
    return f"column '{case['column']}' fails {case['check']}"


def _repeats(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> dict[str, int]:
    """Uniqueness over the whole table: a check batch by batch cannot see repeats across batches."""
    keys = [[name] for name, column in schema.columns.items() if column.unique]
    if schema.unique:
        keys.append(list(schema.unique))
    found: dict[str, int] = {}
    for key in keys:
        if frame.height <= _ROWS_PER_CHECK or not set(key) <= set(frame.columns):
            continue
        repeats = frame.height - frame.select(key).n_unique()
        if repeats:
            found[f"key ({examples(key)}) repeats"] = repeats
    return found
