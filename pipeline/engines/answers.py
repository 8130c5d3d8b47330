"""Prompts to sampled answers: the store first, then the engine for what the store lacks.

An answer is named by its prompt's token ids, its number, and a key: the digests of weights, tokenizer and adapter, what
the engine is, how tokens are drawn, and the seed. Its noise follows from these alone, so that more samples or prompts
leave the earlier ones as they are. Work is cut into shards of fixed prompts; a run that was killed repeats exactly the
calls that it had not finished.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl

from ..config import EngineConfig, GenerationsConfig
from ..context import Reporter
from ..storage.digests import digest_json, digest_text
from ..storage.folders import open_folder
from .adapters import adapter_digest, merger, resolve_adapter
from .encoded import prompt_digests
from .models import model_digest, tokenizer_digest
from .registry import choose_sampler, open_sampler, sampler_identity
from .sampling import Draw, Sampled, Sampler, SamplingSettings
from .shards import ANSWERS, SHARD, Shards

_SCHEMA: Final = ANSWERS.schemas[0]
# Hexadecimal digits of a digest that make a seed of 60 bits: below the 63 that every generator takes.
_SEED_DIGITS: Final = 15


@dataclass(frozen=True)
class Writer:
    """A model that writes answers, the engine that samples them, and the store.

    Attributes:
        model_dir: Folder of the model.
        config: The engine's settings, with an adapter where there is one.
        generations: Samples a prompt, seed, engine and shards.
        settings: How tokens are drawn.
        store: Folder or address of the store.
    """

    model_dir: Path
    config: EngineConfig
    generations: GenerationsConfig
    settings: SamplingSettings
    store: str

    def key(self) -> dict[str, str]:
        """Everything that decides the answers, but for their prompts and numbers."""
        engine = choose_sampler(self.generations.engine)
        key = {"model": model_digest(self.model_dir), "tokenizer": tokenizer_digest(self.model_dir)}
        key |= {**sampler_identity(engine, self.config), **self.settings.identity(), "seed": str(self.generations.seed)}
        if self.config.adapter is not None:
            key["adapter"] = adapter_digest(resolve_adapter(self.config.adapter))
            if engine == "hf":
                key["merger"] = merger()
        return key

    def shards(self) -> Shards:
        """The store's shards of these answers."""
        return Shards(open_folder(self.store), self.key(), ANSWERS)

    def open(self, longest: int) -> Sampler:
        """The engine, for prompts of at most `longest` tokens."""
        engine = choose_sampler(self.generations.engine)
        return open_sampler(engine, self.config, self.model_dir, self.settings, longest)


class SampledAnswers(NamedTuple):
    """Answers and how they came about.

    Attributes:
        frame: Columns prompt_id, sample, completion_token_ids, token_count, finish; sorted by prompt_id and sample.
        notes: Counts, tokens, seconds, engine and key, for the manifest.
    """

    frame: pl.DataFrame
    notes: dict[str, Any]


def sample_answers(prompts: pl.DataFrame, writer: Writer, reporter: Reporter, description: str) -> SampledAnswers:
    """Answers of one model to every prompt.

    Args:
        prompts: Columns prompt_id and prompt_token_ids; each prompt has room for an answer.
        writer: The model, engine and store.
        reporter: Where progress goes.
        description: What the progress bar says.

    Raises:
        EngineError: The engine cannot sample from this model.
    """
    started = time.monotonic()
    shards, named = writer.shards(), prompts.with_columns(prompt_digest=prompt_digests()).sort("prompt_id")
    samples = writer.generations.samples
    wanted = named["prompt_digest"].unique(maintain_order=True).implode()
    stored = [rows.filter(pl.col("prompt_digest").is_in(wanted)) for rows in shards.read()]
    known = pl.concat([pl.DataFrame(schema=_SCHEMA), *stored]).filter(pl.col("sample") < samples)
    known = known.unique(["prompt_digest", "sample"], keep="first", maintain_order=True)
    made = list(_sample_missing(named, known, writer, shards, reporter, description))
    answers = pl.concat([known, *made])
    frame = named.select("prompt_id", "prompt_digest").join(answers, on="prompt_digest", how="left", validate="m:m")
    sampled = sum(part.height for part in made)
    notes = {
        "engine": shards.key["engine"],
        "model": shards.key["model"],
        "store_key": shards.name,
        "answers": frame.height,
        "sampled": sampled,
        "stored": answers.height - sampled,
        "sampled_tokens": sum(int(part["token_count"].sum()) for part in made),
        "seconds": round(time.monotonic() - started, 3),
    }
    columns = ("prompt_id", "sample", pl.col("token_ids").alias("completion_token_ids"), "token_count", "finish")
    return SampledAnswers(frame.select(*columns).sort("prompt_id", "sample"), notes)


def _sample_missing(
    named: pl.DataFrame, known: pl.DataFrame, writer: Writer, shards: Shards, reporter: Reporter, description: str
) -> Iterator[pl.DataFrame]:
    """What the store lacks, one shard at a time, each stored before the next; the engine is opened if it is needed."""
    distinct = named.unique("prompt_digest", keep="first", maintain_order=True)
    have = set(known.select("prompt_digest", "sample").iter_rows())
    # Cut before what is stored is left out: a run that was killed goes on with the same calls.
    parts = [
        missing
        for part in distinct.iter_slices(writer.generations.batch_prompts)
        if (missing := _missing(part, have, writer.generations.samples))
    ]
    if not parts:
        return
    longest = int(distinct["prompt_token_ids"].list.len().max())  # type: ignore[arg-type]  # there is a prompt
    sampler = writer.open(longest)
    try:
        with reporter.progress(description, sum(map(len, parts)), "answers") as advance:
            for part in parts:
                draws = [Draw(ids, _seed(shards.name, name, sample)) for (name, sample), ids in part.items()]
                rows = _rows(list(part), sampler.sample(draws))
                # Named by what is in it: two processes that do the same write the same file.
                shards.write(rows, digest_json([list(row) for row in part]) + SHARD)
                yield rows
                advance(rows.height)
    finally:
        sampler.close()


# Prompt's digest and number of each answer, with the prompt's token ids; in the order in which they are sampled.
_Part = dict[tuple[str, int], tuple[int, ...]]


def _missing(part: pl.DataFrame, have: set[tuple[Any, ...]], samples: int) -> _Part:
    return {
        (name, sample): tuple(ids)
        for name, ids in part.select("prompt_digest", "prompt_token_ids").iter_rows()
        for sample in range(samples)
        if (name, sample) not in have
    }


def _seed(key_name: str, prompt_digest: str, sample: int) -> int:
    return int(digest_text(key_name, prompt_digest, str(sample))[:_SEED_DIGITS], 16)


def _rows(names: Sequence[tuple[str, int]], answers: Sequence[Sampled]) -> pl.DataFrame:
    rows = [
        (name, sample, len(answer.token_ids), answer.finish, list(answer.token_ids))
        for (name, sample), answer in zip(names, answers, strict=True)
    ]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")
