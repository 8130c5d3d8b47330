"""Schemas of what models read and make: token ids, log-probs, training logs, scored rows, metrics."""

from typing import Final

import pandera.polars as pa
import polars as pl

from .columns import (
    FINISH,
    MESSAGES,
    NON_EMPTY,
    NON_NEGATIVE,
    PAIR_SOURCE,
    PHASE,
    PROBABILITY,
    SEQUENCE_ROLE,
    SPLIT,
    TOKEN_IDS,
    identifier,
    optional,
    schema,
)

SEQUENCES: Final = schema(
    {
        "sequence_id": identifier(unique=True),
        "prompt_token_ids": pa.Column(TOKEN_IDS),
        "completion_token_ids": pa.Column(TOKEN_IDS),
        "prompt_token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "completion_token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        # Only where thoughts are masked: `sequences.think`.
        "thought_token_count": pa.Column(pl.Int64, pa.Check.ge(0), required=False),
    }
)
ROW_SEQUENCES: Final = schema(
    {
        "response_id": identifier(),
        "role": pa.Column(SEQUENCE_ROLE),
        "sequence_id": identifier(),
        "split": pa.Column(SPLIT),
    },
    unique=["response_id", "role"],
)
SEQUENCE_DROPS: Final = schema(
    {
        "response_id": identifier(unique=True),
        "reason": pa.Column(pl.String, NON_EMPTY),
        "detail": pa.Column(pl.String),
    }
)
LOGPS: Final = schema(
    {
        "sequence_id": identifier(unique=True),
        "logps": pa.Column(pl.Float64, pa.Check.le(0.0)),
        "token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        # Only where the run asks for it: `reference.token_logps`.
        "token_logps": pa.Column(pl.List(pl.Float32), required=False),
    }
)
PARITY: Final = schema(
    {
        "sequence_id": identifier(unique=True),
        "token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "stored_logps": pa.Column(pl.Float64),
        "row_logps": pa.Column(pl.Float64),
        "batched_logps": pa.Column(pl.Float64),
    }
)
TRAINING_LOG: Final = schema(
    {
        "step": pa.Column(pl.Int64, NON_NEGATIVE),
        "phase": pa.Column(PHASE),
        "metric": pa.Column(pl.String, NON_EMPTY),
        "value": pa.Column(pl.Float64),
    },
    unique=["step", "phase", "metric"],
)
# What held-out rows can be told apart by; of a pair, the model is that of chosen and the votes are those of both sides.
_SLICES: Final = {
    "response_model": optional(pl.String),
    "script": optional(pl.String),
    "turns": optional(pl.Int64, NON_NEGATIVE),
    "votes": optional(pl.Int64, NON_NEGATIVE),
}
SCORED_PAIRS: Final = schema(
    {
        "pair_id": identifier(),
        "group_id": identifier(),
        "model": pa.Column(pl.String, NON_EMPTY),
        "policy_chosen_logps": pa.Column(pl.Float64),
        "policy_rejected_logps": pa.Column(pl.Float64),
        "reference_chosen_logps": pa.Column(pl.Float64, nullable=True),
        "reference_rejected_logps": pa.Column(pl.Float64, nullable=True),
        "chosen_token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "rejected_token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "chosen_better_probability": pa.Column(pl.Float64, PROBABILITY),
        "loss": optional(pl.Float64),
        "pair_source": optional(PAIR_SOURCE),
        **_SLICES,
    },
    unique=["pair_id", "model"],
)
SCORED_UNPAIRED: Final = schema(
    {
        "response_id": identifier(),
        "group_id": identifier(),
        "model": pa.Column(pl.String, NON_EMPTY),
        "label": pa.Column(pl.Boolean),
        "policy_logps": pa.Column(pl.Float64),
        "reference_logps": pa.Column(pl.Float64, nullable=True),
        "token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "loss": optional(pl.Float64),
        **_SLICES,
    },
    unique=["response_id", "model"],
)
METRICS: Final = schema(
    {
        "evaluator": pa.Column(pl.String, NON_EMPTY),
        "version": pa.Column(pl.Int64, pa.Check.ge(1)),
        "metric": pa.Column(pl.String, NON_EMPTY),
        "model": pa.Column(pl.String, NON_EMPTY),
        "compared_with": pa.Column(pl.String, nullable=True),
        "slice": pa.Column(pl.String, nullable=True),
        "value": pa.Column(pl.Float64, nullable=True),
        "ci_low": pa.Column(pl.Float64, nullable=True),
        "ci_high": pa.Column(pl.Float64, nullable=True),
        "n": pa.Column(pl.Int64, NON_NEGATIVE),
        "n_groups": pa.Column(pl.Int64, NON_NEGATIVE),
        "unit": pa.Column(pl.String),
        "reason": pa.Column(pl.String, nullable=True),
        "standard_error": pa.Column(pl.Float64, NON_NEGATIVE, nullable=True),
        # Who judged the answers that the number is about; missing for what rests on logged answers alone.
        "judge": optional(pl.String),
    }
)
# Labelled held-out answers under the thumbs model, whether they are in pairs or not.
THUMBS_SCORES: Final = schema(
    {
        "response_id": identifier(unique=True),
        "prompt_id": identifier(),
        "group_id": identifier(),
        "split": pa.Column(SPLIT),
        "label": pa.Column(pl.Boolean),
        "probability_desirable": pa.Column(pl.Float64, PROBABILITY),
        "weight": pa.Column(pl.Float64, NON_NEGATIVE),
        # The model's own number, a logit; and the thumbs-up rate that the calibration makes of it.
        "score": pa.Column(pl.Float64),
        "probability": pa.Column(pl.Float64, PROBABILITY, nullable=True),
        "token_count": pa.Column(pl.Int64, pa.Check.ge(1)),
        "script": optional(pl.String),
    }
)
GENERATION_PROMPTS: Final = schema(
    {
        "prompt_id": identifier(unique=True),
        "group_id": identifier(),
        "split": pa.Column(SPLIT),
        "prompt": pa.Column(MESSAGES),
        "tools": pa.Column(pl.String, nullable=True),
        "prompt_token_ids": pa.Column(TOKEN_IDS),
        "script": optional(pl.String),
        "turns": optional(pl.Int64, NON_NEGATIVE),
    }
)
GENERATIONS: Final = schema(
    {
        "generation_id": identifier(unique=True),
        "prompt_id": identifier(),
        "group_id": identifier(),
        "model": pa.Column(pl.String, NON_EMPTY),
        "sample": pa.Column(pl.Int64, NON_NEGATIVE),
        "completion": pa.Column(pl.String),
        "completion_token_ids": pa.Column(TOKEN_IDS),
        "token_count": pa.Column(pl.Int64, NON_NEGATIVE),
        "finish": pa.Column(FINISH),
        # Nats of its tokens under the untrained model and under the model that wrote it; missing for an empty answer.
        "reference_logps": pa.Column(pl.Float64, pa.Check.le(0.0), nullable=True),
        "policy_logps": pa.Column(pl.Float64, pa.Check.le(0.0), nullable=True),
    },
    unique=["prompt_id", "model", "sample"],
)
JUDGEMENTS: Final = schema(
    {
        "judge": pa.Column(pl.String, NON_EMPTY),
        "generation_id": identifier(),
        "score": pa.Column(pl.Float64, nullable=True),
        # Why there is no score.
        "reason": pa.Column(pl.String, nullable=True),
    },
    unique=["judge", "generation_id"],
)
JUDGED_PAIRS: Final = schema(
    {
        "judge": pa.Column(pl.String, NON_EMPTY),
        "prompt_id": identifier(),
        "group_id": identifier(),
        "model": pa.Column(pl.String, NON_EMPTY),
        "baseline": pa.Column(pl.String, NON_EMPTY),
        "generation_id": identifier(),
        "baseline_generation_id": identifier(),
        # Whether the model's answer was shown before the baseline's.
        "model_first": pa.Column(pl.Boolean),
        # 1: the model's answer is better; 0: the baseline's is; one half: a tie.
        "preference": pa.Column(pl.Float64, PROBABILITY, nullable=True),
        "reason": pa.Column(pl.String, nullable=True),
    },
    unique=["judge", "generation_id", "baseline_generation_id", "model_first"],
)
