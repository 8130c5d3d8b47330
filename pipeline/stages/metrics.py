"""Stored log-probs to scored rows, and scored rows to metrics with intervals.

Held-out pairs and unpaired rows are scored twice from stored log-probs: as the untrained model (its policy
log-probs are the reference's) and as the trained one. Metrics come from these rows alone, so no batch size,
order or number of processes can change them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import polars as pl

from thumbline.evaluators import (
    AnswerTables,
    EvaluationError,
    EvaluationSettings,
    RewardKind,
    evaluate,
    evaluate_answers,
    reward_kind,
)
from thumbline.plugins import origins

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..errors import TableError
from ..evidence.slices import response_facts, script_of
from ..storage.columns import copied_strings
from ..storage.manifests import Counts
from ..tables import polars_schema
from ..training.methods import main_method
from ..training.scored import MODELS, ScoredRows, logps_by_response, with_losses

VERSION = 4
INPUTS = (
    *("responses", "texts", "pairs", "unpaired", "splits", "sequences", "row_sequences", "reference", "policy"),
    *("thumbs_scores", "generation_prompts", "generations", "judgements", "judged_pairs"),
)
OUTPUTS = ("scored_pairs", "scored_unpaired", "metrics")


class Reward(NamedTuple):
    """What a row's reward is, and the scale that it is multiplied by."""

    kind: RewardKind
    beta: float


# What is read of each row. Of the answers' texts only the prompts' last messages are looked at, part by part.
_READ: Mapping[str, tuple[str, ...]] = {
    "pairs": (
        *("pair_id", "prompt_id", "chosen_response_id", "rejected_response_id"),
        *("pair_source", "chosen_better_probability", "weight"),
    ),
    "unpaired": ("response_id", "prompt_id", "label", "weight", "probability_desirable"),
    "splits": ("prompt_id", "group_id", "split"),
    "row_sequences": ("response_id", "role", "sequence_id", "split"),
}
# What is read of answers that were sampled: their texts, but not what models read and wrote of them.
READ_OF_ANSWERS: Mapping[str, tuple[str, ...]] = {
    "generation_prompts": ("prompt_id", "group_id", "script", "turns"),
    "generations": (
        *("generation_id", "prompt_id", "model", "sample", "completion"),
        *("token_count", "finish", "reference_logps", "policy_logps"),
    ),
    **{table: tuple(polars_schema(table, optional=True)) for table in ("judgements", "judged_pairs", "thumbs_scores")},
}
_READ_OF_RESPONSES = ("response_id", "prompt_id", "model", "n_up", "n_down")


def settings(config: RunConfig) -> dict[str, Any]:
    """The metrics' own settings, and what they take from the method."""
    reward = reward_of_run(config)
    return {
        **config.metrics.model_dump(mode="json"),
        "reward": reward.kind,
        "beta": reward.beta,
        **config.train.model_dump(mode="json", include={"method", "loss", "also", "weighting", "ld_alpha"}),
        "calibrated_judge": calibrated_judge(config),
        "calibration": config.thumbs.calibration,
    }


def external(config: RunConfig) -> Mapping[str, str]:
    """The packages that add evaluators, which all run, or the methods whose loss is among the metrics."""
    return origins("thumbline.losses", config.train.methods) | origins("thumbline.evaluators")


def reward_of_run(config: RunConfig) -> Reward:
    """What a row's reward is: as set, else what the method trains."""
    method = main_method(config.train)
    kind, scale = config.metrics.reward, config.metrics.beta
    own = reward_kind(against_reference=method.spec.needs_reference, per_token=method.per_token)
    return Reward(own if kind == "auto" else kind, method.reward_scale if scale is None else scale)


def transform(tables: Mapping[str, pl.DataFrame], split: str = "test") -> ScoredRows:
    """Scored pairs and unpaired rows of a split, for the untrained and the trained model, without losses.

    Args:
        tables: This stage's input tables by name, of `responses` what `response_facts` gives. A row whose sequence
            was dropped is not scored.
        split: Which rows are evaluated.
    """
    groups = tables["splits"].filter(pl.col("split") == split).select("prompt_id", "group_id")
    by_response = logps_by_response(tables, "matched", split).join(
        tables["responses"], on="response_id", how="left", validate="1:1"
    )
    pairs = tables["pairs"].join(groups, on="prompt_id", how="inner", validate="m:1")
    for side in ("chosen", "rejected"):
        renamed = by_response.rename(lambda name, side=side: f"{side}_{name}")  # type: ignore[misc]
        pairs = pairs.join(renamed, on=f"{side}_response_id", how="inner", validate="m:1")
    unpaired = (
        tables["unpaired"]
        .join(groups, on="prompt_id", how="inner", validate="m:1")
        .join(by_response, on="response_id", how="inner", validate="1:1")
    )
    return ScoredRows(_per_model_pairs(pairs), _per_model_unpaired(unpaired))


def _per_model_pairs(pairs: pl.DataFrame) -> pl.DataFrame:
    parts = [
        pairs.select(
            "pair_id",
            "group_id",
            model=pl.lit(model),
            policy_chosen_logps=f"chosen_{source}",
            policy_rejected_logps=f"rejected_{source}",
            reference_chosen_logps="chosen_reference_logps",
            reference_rejected_logps="rejected_reference_logps",
            chosen_token_count="chosen_token_count",
            rejected_token_count="rejected_token_count",
            chosen_better_probability="chosen_better_probability",
            loss=pl.lit(None, pl.Float64),
            pair_source="pair_source",
            response_model="chosen_response_model",
            script="chosen_script",
            turns="chosen_turns",
            votes=pl.col("chosen_votes") + pl.col("rejected_votes"),
        )
        for model, source in MODELS
    ]
    return pl.concat(parts).select(list(polars_schema("scored_pairs", optional=True))).sort("model", "pair_id")


def _per_model_unpaired(unpaired: pl.DataFrame) -> pl.DataFrame:
    parts = [
        unpaired.select(
            "response_id",
            "group_id",
            model=pl.lit(model),
            label="label",
            policy_logps=source,
            reference_logps="reference_logps",
            token_count="token_count",
            loss=pl.lit(None, pl.Float64),
            response_model="response_model",
            script="script",
            turns="turns",
            votes="votes",
        )
        for model, source in MODELS
    ]
    return pl.concat(parts).select(list(polars_schema("scored_unpaired", optional=True))).sort("model", "response_id")


def _read(context: StageContext) -> dict[str, pl.DataFrame]:
    """What `transform` and `with_losses` use: no text, and log-probs and facts of held-out rows alone."""
    tables = {table: context.read(table, columns) for table, columns in _READ.items()}
    held_out = tables["row_sequences"].filter(pl.col("split") == context.config.metrics.split)
    for table in ("reference", "policy"):
        blocks = context.read_parts(table, list(polars_schema(table, optional=True)))
        tables[table] = _only(held_out.select("sequence_id"), blocks)
    responses = context.read_with_texts("responses", _READ_OF_RESPONSES, ("prompt",))
    tables["responses"] = _only(held_out.select("response_id"), map(response_facts, responses))
    return tables


def _only(ids: pl.DataFrame, parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The rows with one of some ids, as a table of its own that keeps no part's memory."""
    kept = (part.join(ids, on=ids.columns, how="semi", maintain_order="left") for part in parts)
    return pl.concat(map(copied_strings, kept))


def calibrated_judge(config: RunConfig) -> str | None:
    """The judge that gives the run's own thumbs model's scores, which its calibration is of; None without one."""
    own = [one.called for one in config.judges if one.judge == "thumbs" and not one.options.get("model")]
    return own[0] if own else None


def answer_tables(tables: Mapping[str, pl.DataFrame]) -> AnswerTables:
    """What is evaluated of sampled answers.

    Args:
        tables: The columns of `READ_OF_ANSWERS` by table.
    """
    given = dict(tables)
    given["generations"] = given["generations"].with_columns(script=script_of(pl.col("completion")))
    return AnswerTables(prompts=given.pop("generation_prompts"), **given)


def run(context: StageContext) -> StageResult:
    """Read what was scored, write `scored_pairs`, `scored_unpaired` and `metrics`."""
    config = context.config
    tables = _read(context)
    split = config.metrics.split
    scored = with_losses(transform(tables, split), tables, config.train, split)
    reward = reward_of_run(config)
    chosen = EvaluationSettings(
        beta=reward.beta,
        reward=reward.kind,
        bootstrap_draws=config.metrics.bootstrap_draws,
        confidence=config.metrics.confidence,
        seed=config.metrics.seed,
        slice_columns=config.metrics.slices,
        reference_answers=config.metrics.reference_models,
        least_effective_groups=config.metrics.least_effective_groups,
        clip_weights=config.metrics.clip_weights,
        calibration=config.thumbs.calibration,
        most_outside=config.metrics.most_outside,
    )
    answers = answer_tables({table: context.read(table, columns) for table, columns in READ_OF_ANSWERS.items()})
    try:
        evaluated = pl.concat(
            [
                evaluate(scored.pairs, scored.unpaired, chosen),
                evaluate_answers(answers, chosen, calibrated_judge(config)),
            ]
        )
    except EvaluationError as error:
        raise TableError(f"metrics: {error}") from error
    held_out = tables["splits"].filter(pl.col("split") == split).select("prompt_id")
    rows_in = sum(tables[kind].join(held_out, on="prompt_id", how="semi").height for kind in ("pairs", "unpaired"))
    rows_out = (scored.pairs.height + scored.unpaired.height) // 2
    return StageResult(
        outputs={
            "scored_pairs": context.write("scored_pairs", scored.pairs),
            "scored_unpaired": context.write("scored_unpaired", scored.unpaired),
            "metrics": context.write("metrics", evaluated),
        },
        counts=Counts(rows_in=rows_in, rows_out=rows_out, rejected=rows_in - rows_out),
        notes={"reward": reward.kind, "beta": reward.beta, "pairs": scored.pairs.height // 2},
    )
