"""Schemas of the tables from logs to splits."""

from typing import Final

import pandera.polars as pa
import polars as pl

from .columns import (
    ABSTAIN_REASON,
    COMPARISON_DROP,
    COMPARISON_KIND,
    CONTRADICTION,
    LABEL,
    LEAK_MATCH,
    LEAK_TEXT,
    MESSAGES,
    NON_EMPTY,
    NON_NEGATIVE,
    PAIR_DROP,
    PAIR_SOURCE,
    PROBABILITY,
    RESPONSE_DROP,
    SPLIT,
    TIME,
    VOTE,
    identifier,
    schema,
    texts,
)

EVENTS: Final = schema(
    {
        "event_id": identifier(unique=True),
        "prompt_id": identifier(),
        "response_id": identifier(),
        "source_file": pa.Column(pl.String, NON_EMPTY),
        "source_line": pa.Column(pl.Int64, NON_NEGATIVE),
        "format": pa.Column(pl.String, NON_EMPTY),
        "conversation_id": pa.Column(pl.String, nullable=True),
        "user_id": pa.Column(pl.String, nullable=True),
        "model": pa.Column(pl.String, nullable=True),
        **texts(required=False),
        "vote": pa.Column(VOTE),
        "comparison_id": pa.Column(pl.String, nullable=True),
        "comparison_kind": pa.Column(COMPARISON_KIND, nullable=True),
        "propensity": pa.Column(pl.Float64, [pa.Check.gt(0.0), pa.Check.le(1.0)], nullable=True),
        "position": pa.Column(pl.Int64, pa.Check.ge(1), nullable=True),
        "created_at": pa.Column(TIME, nullable=True),
        "deliveries": pa.Column(pl.Int64, pa.Check.ge(1)),
    }
)
ANSWER_TEXTS: Final = schema(
    {"response_id": identifier(unique=True), "prompt_id": identifier(), **texts(required=True)}
)
REJECTS: Final = schema(
    {
        "source_file": pa.Column(pl.String, NON_EMPTY),
        "source_line": pa.Column(pl.Int64, NON_NEGATIVE),
        "reason": pa.Column(pl.String, NON_EMPTY),
        "detail": pa.Column(pl.String),
        "raw": pa.Column(pl.String),
    }
)
RESPONSES: Final = schema(
    {
        "response_id": identifier(unique=True),
        "prompt_id": identifier(),
        **texts(required=False),
        "model": pa.Column(pl.String, nullable=True),
        "models": pa.Column(pl.List(pl.String)),
        "conversation_ids": pa.Column(pl.List(pl.String)),
        "user_ids": pa.Column(pl.List(pl.String)),
        "oldest_event_at": pa.Column(TIME, nullable=True),
        "newest_event_at": pa.Column(TIME, nullable=True),
        "n_events": pa.Column(pl.Int64, pa.Check.ge(1)),
        "n_up": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_down": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_retracted": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_copied": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_regenerated": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_compared": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_tied": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_both_bad": pa.Column(pl.Int64, NON_NEGATIVE),
        "up_evidence": pa.Column(pl.Float64, NON_NEGATIVE),
        "down_evidence": pa.Column(pl.Float64, NON_NEGATIVE),
        "posterior_mean": pa.Column(pl.Float64, PROBABILITY),
        "posterior_low": pa.Column(pl.Float64, PROBABILITY),
        "posterior_high": pa.Column(pl.Float64, PROBABILITY),
        "probability_desirable": pa.Column(pl.Float64, PROBABILITY),
        "label": pa.Column(LABEL),
        "abstain_reason": pa.Column(ABSTAIN_REASON, nullable=True),
        "weight": pa.Column(pl.Float64, PROBABILITY),
        "exposure_weight": pa.Column(pl.Float64, pa.Check.ge(1.0), nullable=True),
        "recency_weight": pa.Column(pl.Float64, PROBABILITY),
    }
)
RESPONSE_DROPS: Final = schema(
    {
        "response_id": identifier(unique=True),
        "prompt_id": identifier(),
        "n_events": pa.Column(pl.Int64, pa.Check.ge(1)),
        "reason": pa.Column(RESPONSE_DROP),
        "detail": pa.Column(pl.String),
    }
)
CONTRADICTIONS: Final = schema(
    {
        "kind": pa.Column(CONTRADICTION),
        "prompt_id": identifier(nullable=True),
        "response_id": identifier(nullable=True),
        "other_response_id": identifier(nullable=True),
        "user_id": pa.Column(pl.String, nullable=True),
        "n_up": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_down": pa.Column(pl.Int64, NON_NEGATIVE),
    },
    unique=["kind", "response_id", "other_response_id", "user_id"],
)
RATERS: Final = schema(
    {
        "user_id": pa.Column(pl.String, unique=True),
        "n_votes": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_up": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_down": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_changed": pa.Column(pl.Int64, NON_NEGATIVE),
        "one_label": pa.Column(pl.Boolean),
        "up_if_good": pa.Column(pl.Float64, PROBABILITY, nullable=True),
        "up_if_bad": pa.Column(pl.Float64, PROBABILITY, nullable=True),
        "weight": pa.Column(pl.Float64, PROBABILITY),
    }
)
COMPARISONS: Final = schema(
    {
        "prompt_id": identifier(),
        "kind": pa.Column(COMPARISON_KIND),
        "chosen_response_id": identifier(),
        "rejected_response_id": identifier(),
        "n_chosen": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_rejected": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_tied": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_both_bad": pa.Column(pl.Int64, NON_NEGATIVE),
    },
    unique=["kind", "chosen_response_id", "rejected_response_id"],
)
COMPARISON_DROPS: Final = schema(
    {
        "prompt_id": identifier(),
        "comparison_id": pa.Column(pl.String),
        "kind": pa.Column(COMPARISON_KIND),
        "user_id": pa.Column(pl.String, nullable=True),
        "response_id": identifier(),
        "other_response_id": identifier(nullable=True),
        "reason": pa.Column(COMPARISON_DROP),
    },
    unique=["prompt_id", "comparison_id", "response_id", "other_response_id"],
)
UNPAIRED: Final = schema(
    {
        "response_id": identifier(unique=True),
        "prompt_id": identifier(),
        "prompt": pa.Column(MESSAGES),
        "tools": pa.Column(pl.String, NON_EMPTY, nullable=True),
        "completion": pa.Column(MESSAGES),
        "label": pa.Column(pl.Boolean),
        "weight": pa.Column(pl.Float64, NON_NEGATIVE),
        "probability_desirable": pa.Column(pl.Float64, PROBABILITY),
    }
)
PAIRS: Final = schema(
    {
        "pair_id": identifier(unique=True),
        "prompt_id": identifier(),
        "prompt": pa.Column(MESSAGES),
        "tools": pa.Column(pl.String, NON_EMPTY, nullable=True),
        "chosen": pa.Column(MESSAGES),
        "rejected": pa.Column(MESSAGES),
        "chosen_response_id": identifier(),
        "rejected_response_id": identifier(),
        "pair_source": pa.Column(PAIR_SOURCE),
        "margin": pa.Column(pl.Float64, PROBABILITY),
        "chosen_better_probability": pa.Column(pl.Float64, PROBABILITY),
        # Only where the run asks for it: `pairs.weights`.
        "weight": pa.Column(pl.Float64, NON_NEGATIVE, required=False),
    }
)
PAIR_DROPS: Final = schema(
    {
        "prompt_id": identifier(),
        "chosen_response_id": identifier(),
        "rejected_response_id": identifier(),
        "pair_source": pa.Column(PAIR_SOURCE),
        "reason": pa.Column(PAIR_DROP),
        "similarity": pa.Column(pl.Float64, PROBABILITY, nullable=True),
    },
    unique=["pair_source", "chosen_response_id", "rejected_response_id"],
)
PAIR_YIELD: Final = schema(
    {
        "outcome": pa.Column(pl.String, NON_EMPTY, unique=True),
        "n_prompts": pa.Column(pl.Int64, NON_NEGATIVE),
        "advice": pa.Column(pl.String),
    }
)
SPLITS: Final = schema(
    {
        "prompt_id": identifier(unique=True),
        "group_id": identifier(),
        "split": pa.Column(SPLIT),
    }
)
LEAKAGE: Final = schema(
    {
        "text": pa.Column(LEAK_TEXT),
        "match": pa.Column(LEAK_MATCH),
        "left": pa.Column(pl.String, NON_EMPTY),
        "right": pa.Column(pl.String, NON_EMPTY),
        "n_right": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_leaked": pa.Column(pl.Int64, NON_NEGATIVE, nullable=True),
    },
    unique=["text", "match", "left", "right"],
)
