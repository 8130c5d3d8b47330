"""How many optimiser steps an arm takes, so that all train on as many completion tokens."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from ..config import RunConfig, TrainConfig
from ..errors import ConfigError
from ..storage.tables import read_table
from ..training.batches import Order, steps_in_epoch, total_steps
from ..training.methods import main_method
from ..training.selecting import selected
from .arms import Arm, Plan, Steps

_ENDS = ("chosen_response_id", "rejected_response_id")


class TrainedRows(NamedTuple):
    """The rows that an arm trains on, in the order in which training numbers them.

    Attributes:
        tokens: (rows,) completion tokens of each: of both answers of a pair.
        labels: (rows,) whether a row is desirable; None of pairs.
        prompts: How many prompts they are of.
    """

    tokens: npt.NDArray[np.int64]
    labels: npt.NDArray[np.bool_] | None
    prompts: int


def steps_of(plan: Plan, seed: int) -> Mapping[str, Steps]:
    """How long each arm trains with a seed, by its name.

    Args:
        plan: Its base has the stages up to the sequences.
        seed: It orders rows, and draws which where an arm takes some.

    Raises:
        ConfigError: An arm has no row to train on.
    """
    rows = {arm.name: trained_rows(plan.base, arm.config.train, seed) for arm in plan.arms}
    for name, found in rows.items():
        if not found.tokens.size:
            raise ConfigError(
                f"{name}: the training split holds no row with token ids that it trains on; leave it out by --methods, "
                f"or see `thumbline status {plan.base.run_dir}`."
            )
    budgets = {
        name: plan.tokens or own_steps(rows[name], plan.arm(name).config.train, seed).tokens
        for name in {arm.budget for arm in plan.arms}
    }
    return {arm.name: nearest_steps(rows[arm.name], arm.config.train, seed, budgets[arm.budget]) for arm in plan.arms}


def trained_rows(base: RunConfig, train: TrainConfig, seed: int) -> TrainedRows:
    """The rows of the training split that a method trains on, from the tables of a run.

    Args:
        base: The run.
        train: Method, and how many rows at most.
        seed: Draws which, where they are some.
    """
    if main_method(train).spec.samples_answers:
        return _sampled_rows(base, train)
    kind = main_method(train).spec.rows
    prompts = _read(base, "splits").filter(pl.col("split") == "train").select("prompt_id")
    rows = _read(base, kind).join(prompts, on="prompt_id", how="semi")
    rows = selected(rows, train.model_copy(update={"seed": seed}), "train")
    matched = _read(base, "row_sequences").filter((pl.col("split") == "train") & (pl.col("role") == "matched"))
    counts = matched.select("response_id", "sequence_id").join(
        _read(base, "sequences").select("sequence_id", "completion_token_count"), on="sequence_id", validate="m:1"
    )
    answers = counts.select("response_id", tokens="completion_token_count")
    if kind == "pairs":
        for end in _ENDS:
            rows = rows.join(answers.rename({"tokens": f"{end}_tokens"}), left_on=end, right_on="response_id")
        rows = rows.sort("pair_id").with_columns(tokens=pl.sum_horizontal(f"{end}_tokens" for end in _ENDS))
        return TrainedRows(rows["tokens"].to_numpy(), None, rows["prompt_id"].n_unique())
    rows = rows.join(answers, on="response_id").sort("response_id")
    return TrainedRows(rows["tokens"].to_numpy(), rows["label"].to_numpy(), rows["prompt_id"].n_unique())


def _sampled_rows(base: RunConfig, train: TrainConfig) -> TrainedRows:
    """The prompts of the training split, each with the tokens that its sampled answers have at most."""
    splits = _read(base, "splits").filter(pl.col("split") == "train").select("prompt_id")
    matched = _read(base, "row_sequences").filter((pl.col("split") == "train") & (pl.col("role") == "matched"))
    responses = read_table(base.run_dir / "responses" / "responses.parquet", "responses", ["response_id", "prompt_id"])
    answered = responses.join(matched, on="response_id", how="semi").join(splits, on="prompt_id", how="semi")
    rollouts = train.rollouts
    prompts = answered["prompt_id"].n_unique()
    most = rollouts.samples * rollouts.max_new_tokens * rollouts.epochs
    return TrainedRows(np.full(prompts, most, dtype=np.int64), None, prompts)


def taken_tokens(config: RunConfig, steps: Steps) -> Steps:
    """How long a trial trained, with the tokens that were sampled in place of the most that could have been.

    Args:
        config: A run whose training is done.
        steps: As planned.
    """
    if not main_method(config.train).spec.samples_answers:
        return steps
    sampled = _logged(config, "sampled_tokens").sum()
    return steps._replace(tokens=round(sampled * config.train.rollouts.epochs))


def answer_tokens(config: RunConfig) -> float:
    """Mean tokens of the answers that were sampled while a run trained.

    Args:
        config: A run whose training is done, by a method that samples its answers.
    """
    sampled, each = _logged(config, "sampled_tokens"), _logged(config, "answer_tokens")
    return float(sampled.sum()) / float((sampled / each).sum())


def _logged(config: RunConfig, metric: str) -> pl.Series:
    """A metric of each step, in their order."""
    log = read_table(config.run_dir / "train" / "training_log.parquet", "training_log")
    return log.filter((pl.col("phase") == "train") & (pl.col("metric") == metric)).sort("step")["value"]


def _read(base: RunConfig, table: str) -> pl.DataFrame:
    stage = {"row_sequences": "sequences"}.get(table, table)
    return read_table(base.run_dir / stage / f"{table}.parquet", table)


def own_steps(rows: TrainedRows, train: TrainConfig, seed: int) -> Steps:
    """How long an arm trains by its own settings."""
    steps = total_steps(rows.tokens.size, train.batch_rows, train.epochs, train.max_steps)
    return _steps(rows, train, int(_tokens_by_step(rows, train, seed, steps).sum()), steps)


def nearest_steps(rows: TrainedRows, train: TrainConfig, seed: int, tokens: int) -> Steps:
    """The number of whole steps whose completion tokens are nearest to `tokens`, at least one.

    Args:
        rows: What is trained on.
        train: Rows a step, and their order.
        seed: Of the order.
        tokens: How many are wanted.
    """
    in_epoch, all_tokens = steps_in_epoch(rows.tokens.size, train.batch_rows), int(rows.tokens.sum())
    most = (math.ceil(tokens / all_tokens) + 1) * in_epoch
    summed = np.cumsum(_tokens_by_step(rows, train, seed, most))
    steps = int(np.argmin(np.abs(summed - tokens))) + 1
    return _steps(rows, train, int(summed[steps - 1]), steps)


def _tokens_by_step(rows: TrainedRows, train: TrainConfig, seed: int, steps: int) -> npt.NDArray[np.int64]:
    """(steps,) completion tokens of each step, in the order in which the trainer takes the rows."""
    labels = rows.labels if train.stratify == "label" else None
    order = Order(rows.tokens.size, train.batch_rows, seed, labels)
    return np.array([rows.tokens[order.of_step(step)].sum() for step in range(steps)], dtype=np.int64)


def _steps(rows: TrainedRows, train: TrainConfig, tokens: int, steps: int) -> Steps:
    epochs = steps / steps_in_epoch(rows.tokens.size, train.batch_rows)
    return Steps(rows.tokens.size, int(rows.tokens.sum()), steps, epochs, tokens)


def budget_of(plan: Plan, arm: Arm) -> str:
    """What an arm's tokens are counted by, in words."""
    return f"{plan.tokens:,} tokens as asked" if plan.tokens else f"as many as {arm.budget} takes by the run file"
