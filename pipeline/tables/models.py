"""Schemas of what models read and make: token ids, log-probs, training logs, scored rows, metrics."""

from typing import Final

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
)
from .contract import Table, at_least, at_most, column

SEQUENCES: Final = Table(
    {
        "sequence_id": identifier(unique=True),
        "prompt_token_ids": column(TOKEN_IDS),
        "completion_token_ids": column(TOKEN_IDS),
        "prompt_token_count": column(pl.Int64, at_least(1)),
        "completion_token_count": column(pl.Int64, at_least(1)),
        # Only where thoughts are masked: `sequences.think`.
        "thought_token_count": column(pl.Int64, at_least(0), required=False),
    }
)
ROW_SEQUENCES: Final = Table(
    {
        "response_id": identifier(),
        "role": column(SEQUENCE_ROLE),
        "sequence_id": identifier(),
        "split": column(SPLIT),
    },
    unique=("response_id", "role"),
)
SEQUENCE_DROPS: Final = Table(
    {
        "response_id": identifier(unique=True),
        "reason": column(pl.String, NON_EMPTY),
        "detail": column(pl.String),
    }
)
LOGPS: Final = Table(
    {
        "sequence_id": identifier(unique=True),
        "logps": column(pl.Float64, at_most(0.0)),
        "token_count": column(pl.Int64, at_least(1)),
        # Only where the run asks for it: `reference.token_logps`.
        "token_logps": column(pl.List(pl.Float32), required=False),
    }
)
PARITY: Final = Table(
    {
        "sequence_id": identifier(unique=True),
        "token_count": column(pl.Int64, at_least(1)),
        "stored_logps": column(pl.Float64),
        "row_logps": column(pl.Float64),
        "batched_logps": column(pl.Float64),
    }
)
TRAINING_LOG: Final = Table(
    {
        "step": column(pl.Int64, NON_NEGATIVE),
        "phase": column(PHASE),
        "metric": column(pl.String, NON_EMPTY),
        "value": column(pl.Float64),
    },
    unique=("step", "phase", "metric"),
)
# What held-out rows can be told apart by; of a pair, the model is that of chosen and the votes are those of both sides.
_SLICES: Final = {
    "response_model": optional(pl.String),
    "script": optional(pl.String),
    "turns": optional(pl.Int64, NON_NEGATIVE),
    "votes": optional(pl.Int64, NON_NEGATIVE),
}
SCORED_PAIRS: Final = Table(
    {
        "pair_id": identifier(),
        "group_id": identifier(),
        "model": column(pl.String, NON_EMPTY),
        "policy_chosen_logps": column(pl.Float64),
        "policy_rejected_logps": column(pl.Float64),
        "reference_chosen_logps": column(pl.Float64, nullable=True),
        "reference_rejected_logps": column(pl.Float64, nullable=True),
        "chosen_token_count": column(pl.Int64, at_least(1)),
        "rejected_token_count": column(pl.Int64, at_least(1)),
        "chosen_better_probability": column(pl.Float64, PROBABILITY),
        "loss": optional(pl.Float64),
        "pair_source": optional(PAIR_SOURCE),
        **_SLICES,
    },
    unique=("pair_id", "model"),
)
SCORED_UNPAIRED: Final = Table(
    {
        "response_id": identifier(),
        "group_id": identifier(),
        "model": column(pl.String, NON_EMPTY),
        "label": column(pl.Boolean),
        "policy_logps": column(pl.Float64),
        "reference_logps": column(pl.Float64, nullable=True),
        "token_count": column(pl.Int64, at_least(1)),
        "loss": optional(pl.Float64),
        **_SLICES,
    },
    unique=("response_id", "model"),
)
METRICS: Final = Table(
    {
        "evaluator": column(pl.String, NON_EMPTY),
        "version": column(pl.Int64, at_least(1)),
        "metric": column(pl.String, NON_EMPTY),
        "model": column(pl.String, NON_EMPTY),
        "compared_with": column(pl.String, nullable=True),
        "slice": column(pl.String, nullable=True),
        "value": column(pl.Float64, nullable=True),
        "ci_low": column(pl.Float64, nullable=True),
        "ci_high": column(pl.Float64, nullable=True),
        "n": column(pl.Int64, NON_NEGATIVE),
        "n_groups": column(pl.Int64, NON_NEGATIVE),
        "unit": column(pl.String),
        "reason": column(pl.String, nullable=True),
        "standard_error": column(pl.Float64, NON_NEGATIVE, nullable=True),
        # Who judged the answers that the number is about; missing for what rests on logged answers alone.
        "judge": optional(pl.String),
    }
)
# Labelled held-out answers under the thumbs model, whether they are in pairs or not.
THUMBS_SCORES: Final = Table(
    {
        "response_id": identifier(unique=True),
        "prompt_id": identifier(),
        "group_id": identifier(),
        "split": column(SPLIT),
        "label": column(pl.Boolean),
        "probability_desirable": column(pl.Float64, PROBABILITY),
        "weight": column(pl.Float64, NON_NEGATIVE),
        # The model's own number, a logit; and the thumbs-up rate that the calibration makes of it.
        "score": column(pl.Float64),
        "probability": column(pl.Float64, PROBABILITY, nullable=True),
        "token_count": column(pl.Int64, at_least(1)),
        "script": optional(pl.String),
    }
)
GENERATION_PROMPTS: Final = Table(
    {
        "prompt_id": identifier(unique=True),
        "group_id": identifier(),
        "split": column(SPLIT),
        "prompt": column(MESSAGES),
        "tools": column(pl.String, nullable=True),
        "prompt_token_ids": column(TOKEN_IDS),
        "script": optional(pl.String),
        "turns": optional(pl.Int64, NON_NEGATIVE),
    }
)
GENERATIONS: Final = Table(
    {
        "generation_id": identifier(unique=True),
        "prompt_id": identifier(),
        "group_id": identifier(),
        "model": column(pl.String, NON_EMPTY),
        "sample": column(pl.Int64, NON_NEGATIVE),
        "completion": column(pl.String),
        "completion_token_ids": column(TOKEN_IDS),
        "token_count": column(pl.Int64, NON_NEGATIVE),
        "finish": column(FINISH),
        # Nats of its tokens under the untrained model and under the model that wrote it; missing for an empty answer.
        "reference_logps": column(pl.Float64, at_most(0.0), nullable=True),
        "policy_logps": column(pl.Float64, at_most(0.0), nullable=True),
    },
    unique=("prompt_id", "model", "sample"),
)
JUDGEMENTS: Final = Table(
    {
        "judge": column(pl.String, NON_EMPTY),
        "generation_id": identifier(),
        "score": column(pl.Float64, nullable=True),
        # Why there is no score.
        "reason": column(pl.String, nullable=True),
    },
    unique=("judge", "generation_id"),
)
JUDGED_PAIRS: Final = Table(
    {
        "judge": column(pl.String, NON_EMPTY),
        "prompt_id": identifier(),
        "group_id": identifier(),
        "model": column(pl.String, NON_EMPTY),
        "baseline": column(pl.String, NON_EMPTY),
        "generation_id": identifier(),
        "baseline_generation_id": identifier(),
        # Whether the model's answer was shown before the baseline's.
        "model_first": column(pl.Boolean),
        # 1: the model's answer is better; 0: the baseline's is; one half: a tie.
        "preference": column(pl.Float64, PROBABILITY, nullable=True),
        "reason": column(pl.String, nullable=True),
    },
    unique=("judge", "generation_id", "baseline_generation_id", "model_first"),
)
