"""How much there is to sample and train on, for a method that samples its answers: a run's prompts, or stated ones."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from ..config import EngineConfig, RunConfig, TrainConfig
from ..config.asking import ThumbsConfig
from ..storage.kept import trusted_manifest
from ..storage.tables import iter_table, read_table
from ..training.batches import micro_batches, order_of, total_steps, trained_sequences
from ..training.layouts import Layout, computed_tokens
from ..training.rollouts.prompts import Prompts, prompts_of_split, trained_prompts
from ..training.rollouts.stepping import minibatches
from ..training.rows import PromptRow, RolloutRow, TrainingSequence

# Steps that are looked at for the largest forward pass, and for tokens a step.
_MOST_STEPS: Final = 100
_STAGES: Final = {
    "splits": "splits",
    "sequences": "sequences",
    "row_sequences": "sequences",
    "pairs": "pairs",
    "unpaired": "unpaired",
}


class Sampled(NamedTuple):
    """What a step samples and scores before its updates.

    Attributes:
        prompts: Token ids of the prompts of the step whose prompts are longest.
        prompt_tokens: Tokens of a step's prompts on average.
        samples: Answers to each prompt.
        new_tokens: Tokens of an answer.
        answers: A step's answers on average.
        pass_tokens: Tokens that the layers compute in one pass over a step's answers on average.
        epochs: Passes with a gradient; two more have none, the policy's own and the reference's.
        thumbs: The thumbs model, which scores the answers.
        reference: How many tokens of prompts are read at once, and vLLM's settings.
    """

    prompts: Sequence[tuple[int, ...]]
    prompt_tokens: float
    samples: int
    new_tokens: int
    answers: float
    pass_tokens: float
    epochs: int
    thumbs: ThumbsConfig
    reference: EngineConfig


class RolloutWork(NamedTuple):
    """What is trained on.

    Attributes:
        source: Where lengths come from, in words.
        prompts: Prompts of the training split; None where that is not known.
        steps: Optimiser steps of the run; None likewise.
        largest: Answers of the two largest forward passes of a step.
        largest_tokens: Tokens that the layers compute for those.
        sampled: What is sampled before.
    """

    source: str
    prompts: int | None
    steps: int | None
    largest: Sequence[RolloutRow]
    largest_tokens: float
    sampled: Sampled


class RunTables:
    """A run's tables, which its finished stages wrote."""

    def __init__(self, config: RunConfig) -> None:
        """Read nothing yet.

        Args:
            config: The run.
        """
        self._config = config

    @property
    def are_there(self) -> bool:
        """Whether all that prompts are read from is."""
        return all(self._path(table) is not None for table in _STAGES)

    def _path(self, table: str) -> Path | None:
        folder = self._config.run_dir / _STAGES[table]
        manifest = trusted_manifest(folder)
        return None if manifest is None else folder / manifest.outputs[table].file

    def read(self, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Columns of a table."""
        path = self._path(table)
        assert path is not None, "asked for before"
        return read_table(path, table, columns)

    def blocks(self, table: str) -> Callable[[list[str]], Iterator[pl.DataFrame]]:
        """Gives columns of a table, some rows at a time."""
        path = self._path(table)
        assert path is not None, "asked for before"
        return lambda columns: iter_table(path, table, columns)


def own_prompts(config: RunConfig) -> Prompts | None:
    """The prompts that a run trains on; None where its tables are not there, or hold none."""
    tables = RunTables(config)
    if not tables.are_there:
        return None
    prompts = trained_prompts(prompts_of_split(tables, "train", None)[0], config.train)
    return prompts if len(prompts) else None


def stated_prompts(config: RunConfig, tokens: int) -> list[PromptRow]:
    """As many prompts of random tokens as a step takes."""
    drawn = np.random.default_rng(0).integers(0, 256, (config.train.batch_rows, tokens), dtype=np.int32)
    return [PromptRow(f"{row}", TrainingSequence(f"{row}", ids, (), None)) for row, ids in enumerate(drawn)]


def rollout_work(
    config: RunConfig, prompts: Sequence[PromptRow], new_tokens: int, layout: Layout, source: str, rows: int | None
) -> RolloutWork:
    """What steps on these prompts are.

    Args:
        config: The run.
        prompts: At least one.
        new_tokens: Tokens of each answer.
        layout: How the sequences of a forward pass lie.
        source: Where the prompts come from, in words.
        rows: How many prompts there are; None where that is not known.
    """
    train = config.train
    count = len(prompts)
    steps = total_steps(count, train.batch_rows, train.epochs, train.max_steps)
    order = order_of(prompts, train.batch_rows, train.seed)
    looked_at = [[prompts[int(index)] for index in order.of_step(step)] for step in range(min(steps, _MOST_STEPS))]
    cut = [_forward_passes(step, train, new_tokens, layout, number) for number, step in enumerate(looked_at)]
    largest = max(cut, key=lambda parts: max(_tokens(part, layout) for part in parts))
    chosen = sorted(largest, key=lambda part: _tokens(part, layout), reverse=True)[:2]
    together = [row for part in chosen for row in part]
    longest = max(looked_at, key=_prompt_tokens)
    sampled = Sampled(
        [tuple(map(int, row.matched.prompt_token_ids)) for row in longest],
        sum(map(_prompt_tokens, looked_at)) / len(looked_at),
        train.rollouts.samples,
        new_tokens,
        train.rollouts.samples * sum(map(len, looked_at)) / len(looked_at),
        sum(_tokens(part, layout) for parts in cut for part in parts) / len(cut) / train.rollouts.epochs,
        train.rollouts.epochs,
        config.thumbs,
        config.reference,
    )
    known = None if rows is None else total_steps(rows, train.batch_rows, train.epochs, train.max_steps)
    tokens = sum(_tokens(part, layout) for part in _parts(together, train, layout))
    return RolloutWork(source, rows, known or train.max_steps, together, tokens, sampled)


def _forward_passes(
    prompts: Sequence[PromptRow], train: TrainConfig, new_tokens: int, layout: Layout, number: int
) -> list[list[RolloutRow]]:
    """The answers of a step by forward passes, those of all its updates."""
    rows = [_answer(prompt, sample, new_tokens) for prompt in prompts for sample in range(train.rollouts.samples)]
    return [part for update in minibatches(rows, train, number) for part in _parts(update, train, layout)]


def _parts(rows: Sequence[RolloutRow], train: TrainConfig, layout: Layout) -> list[list[RolloutRow]]:
    """As `RolloutObjective.parts`."""
    return micro_batches(rows, train.micro_batch_rows, train.micro_batch_tokens, layout, sort=layout != "shared")


def _answer(prompt: PromptRow, sample: int, new_tokens: int) -> RolloutRow:
    """An answer of random tokens, which shares nothing but its prompt with others."""
    name, own = f"{prompt.row_id}:{sample}", prompt.matched.prompt_token_ids
    drawn = np.random.default_rng([len(own), sample]).integers(0, 256, new_tokens, dtype=np.int32)
    known = np.zeros(new_tokens, dtype=np.float32)
    return RolloutRow(name, TrainingSequence(name, own, drawn, None), known, known, known, known)


def _tokens(rows: Sequence[RolloutRow], layout: Layout) -> int:
    return computed_tokens(trained_sequences(rows), layout)


def _prompt_tokens(rows: Sequence[PromptRow]) -> int:
    return sum(len(row.matched.prompt_token_ids) for row in rows)
