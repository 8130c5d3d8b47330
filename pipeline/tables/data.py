"""Schemas of the tables from logs to splits."""

from typing import Final

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
    texts,
)
from .contract import Table, above, at_least, at_most, column

EVENTS: Final = Table(
    {
        "event_id": identifier(unique=True),
        "prompt_id": identifier(),
        "response_id": identifier(),
        "source_file": column(pl.String, NON_EMPTY),
        "source_line": column(pl.Int64, NON_NEGATIVE),
        "format": column(pl.String, NON_EMPTY),
        "conversation_id": column(pl.String, nullable=True),
        "user_id": column(pl.String, nullable=True),
        "model": column(pl.String, nullable=True),
        **texts(required=False),
        "vote": column(VOTE),
        "comparison_id": column(pl.String, nullable=True),
        "comparison_kind": column(COMPARISON_KIND, nullable=True),
        "propensity": column(pl.Float64, above(0.0), at_most(1.0), nullable=True),
        "position": column(pl.Int64, at_least(1), nullable=True),
        "created_at": column(TIME, nullable=True),
        "deliveries": column(pl.Int64, at_least(1)),
    }
)
ANSWER_TEXTS: Final = Table({"response_id": identifier(unique=True), "prompt_id": identifier(), **texts(required=True)})
REJECTS: Final = Table(
    {
        "source_file": column(pl.String, NON_EMPTY),
        "source_line": column(pl.Int64, NON_NEGATIVE),
        "reason": column(pl.String, NON_EMPTY),
        "detail": column(pl.String),
        "raw": column(pl.String),
    }
)
RESPONSES: Final = Table(
    {
        "response_id": identifier(unique=True),
        "prompt_id": identifier(),
        **texts(required=False),
        "model": column(pl.String, nullable=True),
        "models": column(pl.List(pl.String)),
        "conversation_ids": column(pl.List(pl.String)),
        "user_ids": column(pl.List(pl.String)),
        "oldest_event_at": column(TIME, nullable=True),
        "newest_event_at": column(TIME, nullable=True),
        "n_events": column(pl.Int64, at_least(1)),
        "n_up": column(pl.Int64, NON_NEGATIVE),
        "n_down": column(pl.Int64, NON_NEGATIVE),
        "n_retracted": column(pl.Int64, NON_NEGATIVE),
        "n_copied": column(pl.Int64, NON_NEGATIVE),
        "n_regenerated": column(pl.Int64, NON_NEGATIVE),
        "n_compared": column(pl.Int64, NON_NEGATIVE),
        "n_tied": column(pl.Int64, NON_NEGATIVE),
        "n_both_bad": column(pl.Int64, NON_NEGATIVE),
        "up_evidence": column(pl.Float64, NON_NEGATIVE),
        "down_evidence": column(pl.Float64, NON_NEGATIVE),
        "posterior_mean": column(pl.Float64, PROBABILITY),
        "posterior_low": column(pl.Float64, PROBABILITY),
        "posterior_high": column(pl.Float64, PROBABILITY),
        "probability_desirable": column(pl.Float64, PROBABILITY),
        "label": column(LABEL),
        "abstain_reason": column(ABSTAIN_REASON, nullable=True),
        "weight": column(pl.Float64, PROBABILITY),
        "exposure_weight": column(pl.Float64, at_least(1.0), nullable=True),
        "recency_weight": column(pl.Float64, PROBABILITY),
    }
)
RESPONSE_DROPS: Final = Table(
    {
        "response_id": identifier(unique=True),
        "prompt_id": identifier(),
        "n_events": column(pl.Int64, at_least(1)),
        "reason": column(RESPONSE_DROP),
        "detail": column(pl.String),
    }
)
CONTRADICTIONS: Final = Table(
    {
        "kind": column(CONTRADICTION),
        "prompt_id": identifier(nullable=True),
        "response_id": identifier(nullable=True),
        "other_response_id": identifier(nullable=True),
        "user_id": column(pl.String, nullable=True),
        "n_up": column(pl.Int64, NON_NEGATIVE),
        "n_down": column(pl.Int64, NON_NEGATIVE),
    },
    unique=("kind", "response_id", "other_response_id", "user_id"),
)
RATERS: Final = Table(
    {
        "user_id": column(pl.String, unique=True),
        "n_votes": column(pl.Int64, NON_NEGATIVE),
        "n_up": column(pl.Int64, NON_NEGATIVE),
        "n_down": column(pl.Int64, NON_NEGATIVE),
        "n_changed": column(pl.Int64, NON_NEGATIVE),
        "one_label": column(pl.Boolean),
        "up_if_good": column(pl.Float64, PROBABILITY, nullable=True),
        "up_if_bad": column(pl.Float64, PROBABILITY, nullable=True),
        "weight": column(pl.Float64, PROBABILITY),
    }
)
COMPARISONS: Final = Table(
    {
        "prompt_id": identifier(),
        "kind": column(COMPARISON_KIND),
        "chosen_response_id": identifier(),
        "rejected_response_id": identifier(),
        "n_chosen": column(pl.Int64, NON_NEGATIVE),
        "n_rejected": column(pl.Int64, NON_NEGATIVE),
        "n_tied": column(pl.Int64, NON_NEGATIVE),
        "n_both_bad": column(pl.Int64, NON_NEGATIVE),
    },
    unique=("kind", "chosen_response_id", "rejected_response_id"),
)
COMPARISON_DROPS: Final = Table(
    {
        "prompt_id": identifier(),
        "comparison_id": column(pl.String),
        "kind": column(COMPARISON_KIND),
        "user_id": column(pl.String, nullable=True),
        "response_id": identifier(),
        "other_response_id": identifier(nullable=True),
        "reason": column(COMPARISON_DROP),
    },
    unique=("prompt_id", "comparison_id", "response_id", "other_response_id"),
)
UNPAIRED: Final = Table(
    {
        "response_id": identifier(unique=True),
        "prompt_id": identifier(),
        "prompt": column(MESSAGES),
        "tools": column(pl.String, NON_EMPTY, nullable=True),
        "completion": column(MESSAGES),
        "label": column(pl.Boolean),
        "weight": column(pl.Float64, NON_NEGATIVE),
        "probability_desirable": column(pl.Float64, PROBABILITY),
    }
)
PAIRS: Final = Table(
    {
        "pair_id": identifier(unique=True),
        "prompt_id": identifier(),
        "prompt": column(MESSAGES),
        "tools": column(pl.String, NON_EMPTY, nullable=True),
        "chosen": column(MESSAGES),
        "rejected": column(MESSAGES),
        "chosen_response_id": identifier(),
        "rejected_response_id": identifier(),
        "pair_source": column(PAIR_SOURCE),
        "margin": column(pl.Float64, PROBABILITY),
        "chosen_better_probability": column(pl.Float64, PROBABILITY),
        # Only where the run asks for it: `pairs.weights`.
        "weight": column(pl.Float64, NON_NEGATIVE, required=False),
    }
)
PAIR_DROPS: Final = Table(
    {
        "prompt_id": identifier(),
        "chosen_response_id": identifier(),
        "rejected_response_id": identifier(),
        "pair_source": column(PAIR_SOURCE),
        "reason": column(PAIR_DROP),
        "similarity": column(pl.Float64, PROBABILITY, nullable=True),
    },
    unique=("pair_source", "chosen_response_id", "rejected_response_id"),
)
PAIR_YIELD: Final = Table(
    {
        "outcome": column(pl.String, NON_EMPTY, unique=True),
        "n_prompts": column(pl.Int64, NON_NEGATIVE),
        "advice": column(pl.String),
    }
)
SPLITS: Final = Table(
    {
        "prompt_id": identifier(unique=True),
        "group_id": identifier(),
        "split": column(SPLIT),
    }
)
LEAKAGE: Final = Table(
    {
        "text": column(LEAK_TEXT),
        "match": column(LEAK_MATCH),
        "left": column(pl.String, NON_EMPTY),
        "right": column(pl.String, NON_EMPTY),
        "n_right": column(pl.Int64, NON_NEGATIVE),
        "n_leaked": column(pl.Int64, NON_NEGATIVE, nullable=True),
    },
    unique=("text", "match", "left", "right"),
)
