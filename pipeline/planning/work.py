"""How much there is to train on: the rows of a run's own tables, or rows of lengths that are stated."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from ..config import RunConfig, TrainConfig
from ..errors import ConfigError
from ..storage.kept import trusted_manifest
from ..storage.tables import iter_table, read_table
from ..training.batches import micro_batches, order_of, total_steps, trained_sequences
from ..training.layouts import Layout, computed_tokens
from ..training.mapped import Stored, pair_rows, unpaired_rows
from ..training.methods import main_method, takes_mismatched
from ..training.rows import PairRow, Row, TrainingSequence, UnpairedRow
from ..training.selecting import selected
from ..training.unpaired import partners_of
from .rollout_work import RolloutWork, own_prompts, rollout_work, stated_prompts

# Steps that are looked at for the largest forward pass, and for tokens a step.
_MOST_STEPS: Final = 500
_TABLES: Final = {"splits": "splits", "sequences": "sequences", "row_sequences": "sequences"}


class Stated(NamedTuple):
    """Lengths of rows that are told, where a run has no tables yet.

    Attributes:
        prompt_tokens: Tokens of each prompt; None: half of what `sequences.max_tokens` allows.
        completion_tokens: Tokens of each completion; None: the rest of it.
        rows: Pairs or rows to train on; None where that is not known.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    rows: int | None = None


class Work(NamedTuple):
    """What is trained on.

    Attributes:
        source: Where lengths come from, in words.
        rows: Pairs or rows of the training split; None where that is not known.
        steps: Optimiser steps of the run; None likewise.
        largest: Rows of a step that holds the largest forward pass: those of its two largest.
        step_tokens: Tokens that the layers compute a step on average, padding and partners included.
        largest_tokens: The same of a step of `largest`.
    """

    source: str
    rows: int | None
    steps: int | None
    largest: Sequence[Row]
    step_tokens: float
    largest_tokens: float


@contextmanager
def work_of(config: RunConfig, stated: Stated, layout: Layout) -> Iterator[Work]:
    """What a run trains on; token ids of its tables are in a temporary file meanwhile.

    Args:
        config: The run.
        stated: Lengths; where any is given the tables are not looked at.
        layout: How the sequences of a forward pass lie, which says how a step is cut, and what is computed.

    Raises:
        ConfigError: A stated length is none that a sequence can have.
    """
    if stated == Stated() and all(_path(config, table) is not None for table in (*_TABLES, _kind(config))):
        with tempfile.TemporaryDirectory() as folder:
            rows = _own_rows(config, Path(folder) / "tokens")
            if len(rows):
                yield _measured(rows, config.train, layout)
                return
    yield _as_stated(config, stated, layout)


@contextmanager
def any_work(config: RunConfig, stated: Stated, layout: Layout) -> Iterator[Work | RolloutWork]:
    """`work_of`, or what a method that samples its own answers works on.

    Args:
        config: The run.
        stated: As `work_of`; of sampled answers `completion_tokens` are at most `rollouts.max_new_tokens`.
        layout: As `work_of`.

    Raises:
        ConfigError: As `work_of`.
    """
    if not main_method(config.train).spec.samples_answers:
        with work_of(config, stated, layout) as work:
            yield work
        return
    yield sampling_work(config, stated, layout)


def sampling_work(config: RunConfig, stated: Stated, layout: Layout) -> RolloutWork:
    """What a method that samples its own answers works on: all of them as long as they may be, or as stated.

    Args:
        config: The run.
        stated: As `any_work`.
        layout: As `work_of`.

    Raises:
        ConfigError: As `work_of`.
    """
    most = config.train.rollouts.max_new_tokens
    new = most if stated.completion_tokens is None else min(stated.completion_tokens, most)
    own = own_prompts(config) if stated._replace(completion_tokens=None) == Stated() else None
    if own is not None:
        return rollout_work(config, own, new, layout, f"the run's own prompts, answers of {new} tokens", len(own))
    prompt, _ = _lengths(config, stated._replace(completion_tokens=1))
    where = "as stated" if stated.prompt_tokens else "half of what sequences allow"
    source = f"{prompt} tokens of prompt, {where}, answers of {new} tokens"
    return rollout_work(config, stated_prompts(config, prompt), new, layout, source, stated.rows)


def _kind(config: RunConfig) -> str:
    return str(main_method(config.train).spec.rows)


def _path(config: RunConfig, table: str) -> Path | None:
    stage = _TABLES.get(table, table)
    manifest = trusted_manifest(config.run_dir / stage)
    return None if manifest is None else config.run_dir / stage / manifest.outputs[table].file


def _read(config: RunConfig, table: str, columns: list[str] | None = None) -> pl.DataFrame:
    path = _path(config, table)
    assert path is not None
    return read_table(path, table, columns)


def _own_rows(config: RunConfig, tokens: Path) -> Sequence[Row]:
    """The training split's rows, in the order of training."""
    prompts = _read(config, "splits").filter(pl.col("split") == "train").select("prompt_id")
    kept = selected(_read(config, _kind(config)).join(prompts, on="prompt_id", how="semi"), config.train, "train")
    of_split = _read(config, "row_sequences").filter(pl.col("split") == "train")

    def blocks(columns: list[str]) -> Iterator[pl.DataFrame]:
        path = _path(config, "sequences")
        assert path is not None
        yield from iter_table(path, "sequences", columns)

    def unscored(_: list[str]) -> Iterator[pl.DataFrame]:
        # A step takes log-probs of the reference, whatever they are; a run that is planned need not have any.
        for block in blocks(["sequence_id", "completion_token_count"]):
            yield block.select("sequence_id", logps=pl.lit(0.0), token_count="completion_token_count")

    stored = Stored(blocks, unscored, tokens)
    if _kind(config) == "unpaired":
        return unpaired_rows(kept, of_split, stored)
    matched = of_split.filter(pl.col("role") == "matched").select("response_id", "sequence_id")
    return pair_rows(kept, matched, stored)


def _measured(rows: Sequence[Row], train: TrainConfig, layout: Layout) -> Work:
    steps = total_steps(len(rows), train.batch_rows, train.epochs, train.max_steps)
    order = order_of(rows, train.batch_rows, train.seed, train.stratify)
    taken = ([rows[int(index)] for index in order.of_step(step)] for step in range(min(steps, _MOST_STEPS)))
    cut = [_Cut(parts := _parts(step, train, layout), _step_tokens(parts, train, layout)) for step in taken]
    largest = max(cut, key=lambda step: max(_kept(part, layout) for part in step.parts)).parts
    chosen = sorted(largest, key=lambda part: _kept(part, layout), reverse=True)[:2]
    mean = sum(step.tokens for step in cut) / len(cut)
    together = [row for part in chosen for row in part]
    own = _step_tokens(_parts(together, train, layout), train, layout)
    return Work("the run's own tables", len(rows), steps, together, mean, own)


class _Cut(NamedTuple):
    """A step's rows by forward passes, and the tokens that they compute."""

    parts: list[list[Row]]
    tokens: int


def _parts(rows: Sequence[Row], train: TrainConfig, layout: Layout) -> list[list[Row]]:
    return micro_batches(rows, train.micro_batch_rows, train.micro_batch_tokens, layout)


def _kept(rows: Sequence[Row], layout: Layout) -> int:
    """Tokens of a forward pass for which something is kept."""
    return computed_tokens(trained_sequences(rows), layout)


def _step_tokens(parts: Sequence[Sequence[Row]], train: TrainConfig, layout: Layout) -> int:
    """Tokens that a step computes: its value over all rows takes passes of its own, unless one pass holds them all."""
    method, kept = main_method(train), sum(_kept(part, layout) for part in parts)
    if method.spec.step_statistic is None:
        return kept
    apart = len(parts) > 1 and not method.statistic_of_parts
    if not method.needs_mismatched:
        return kept * (2 if apart else 1)
    return kept + sum(_partners_tokens(part, layout, hung=layout == "shared" and not apart) for part in parts)


def _partners_tokens(rows: Sequence[Row], layout: Layout, *, hung: bool) -> int:
    """Tokens that partners cost, which hang on their rows' prompts or are passed by themselves."""
    partners = partners_of([row for row in rows if isinstance(row, UnpairedRow)])
    if hung or not partners:
        return sum(len(partner.completion_token_ids) for partner in partners)
    return computed_tokens(partners, layout)


def _as_stated(config: RunConfig, stated: Stated, layout: Layout) -> Work:
    train = config.train
    prompt, completion = _lengths(config, stated)
    rows = [_row(config, number, prompt, completion) for number in range(2 * train.micro_batch_rows)]
    rows = rows[: train.batch_rows]
    own = _step_tokens(_parts(rows, train, layout), train, layout)
    tokens = own * train.batch_rows / len(rows)
    where = "as stated" if (stated.prompt_tokens or stated.completion_tokens) else "the longest that sequences allow"
    steps = train.max_steps
    if stated.rows is not None:
        steps = total_steps(stated.rows, train.batch_rows, train.epochs, train.max_steps)
    return Work(
        f"{prompt} tokens of prompt and {completion} of completion, {where}", stated.rows, steps, rows, tokens, own
    )


def _lengths(config: RunConfig, stated: Stated) -> tuple[int, int]:
    """Tokens of a prompt, and of a completion."""
    most = config.sequences.max_tokens
    prompt = most // 2 if stated.prompt_tokens is None else stated.prompt_tokens
    completion = most - prompt if stated.completion_tokens is None else stated.completion_tokens
    if prompt < 1 or completion < 1:
        raise ConfigError(
            f"plan: {prompt} tokens of prompt and {completion} of completion make no sequence: each takes at least 1. "
            f"See --prompt-tokens, --completion-tokens and sequences.max_tokens ({most})."
        )
    return prompt, completion


def _row(config: RunConfig, number: int, prompt: int, completion: int) -> Row:
    """A row of random tokens: its two completions share the prompt alone."""
    draw = np.random.default_rng(number).integers(0, 2**15, prompt + 2 * completion, dtype=np.int32)
    draw %= 256
    sides = [
        TrainingSequence(f"{number}-{side}", draw[:prompt], part, 0.0)
        for side, part in enumerate((draw[prompt : prompt + completion], draw[prompt + completion :]))
    ]
    if _kind(config) == "pairs":
        return PairRow(f"{number}", sides[0], sides[1], 1.0, 1.0)
    partner = sides[1] if takes_mismatched(config) else None
    return UnpairedRow(f"{number}", sides[0], partner, number % 2 == 0, 1.0, float(number % 2 == 0))
