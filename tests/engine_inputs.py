"""Sequences for engines: the shapes that have gone wrong, and tables of them."""

import random
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from thumbline.pipeline.engines.base import Score, TokenSequence
from thumbline.pipeline.engines.feeding import BLOCK_ROWS, BUCKET_TOKENS, blocks_of, catalogue
from thumbline.pipeline.engines.missing import Work, score_missing
from thumbline.pipeline.storage.digests import digest_text
from thumbline.pipeline.tables import polars_schema


def sequence(prompt, completion) -> TokenSequence:
    """A sequence named by its content."""
    return TokenSequence(digest_text(str(list(prompt)), str(list(completion))), tuple(prompt), tuple(completion))


def random_sequences(count: int, vocabulary: int, longest: int = 40, seed: int = 0) -> list[TokenSequence]:
    """Pairs of completions of random prompts, of very different lengths."""
    generator = random.Random(seed)

    def tokens(most):
        return [generator.randrange(2, vocabulary) for _ in range(generator.randint(1, most))]

    prompts = [tokens(longest) for _ in range((count + 1) // 2)]
    return [sequence(prompts[place // 2], tokens(longest)) for place in range(count)]


def awkward_sequences(vocabulary: int, block: int, seed: int = 0) -> list[TokenSequence]:
    """Sequences whose scored positions a prefix cache with blocks of `block` tokens swallows, and short ones."""
    generator = random.Random(seed)

    def tokens(count):
        return [generator.randrange(2, vocabulary) for _ in range(count)]

    on_boundary, past_boundary = tokens(2 * block), tokens(block + 3)
    shared = tokens(block + 5)
    return [
        # The prompt ends on a block boundary: a sibling finds its last position in the cache.
        *(sequence(on_boundary, tokens(7)) for _ in range(3)),
        # Siblings share first completion tokens beyond a block boundary.
        *(sequence(past_boundary, shared + tokens(4)) for _ in range(3)),
        # One is a prefix of another; one repeats.
        sequence(past_boundary, shared),
        sequence(past_boundary, shared),
        # The shortest there can be.
        sequence([3], [5]),
        sequence([3], tokens(1)),
        # Longer than a small step, so its prompt is processed in parts.
        *(sequence(tokens(5 * block + 1), tokens(3 * block)) for _ in range(2)),
    ]


def sequences_table(sequences: list[TokenSequence]) -> pl.DataFrame:
    """Table `sequences`, repeats included."""
    rows = [
        (
            entry.sequence_id,
            list(entry.prompt_token_ids),
            list(entry.completion_token_ids),
            len(entry.prompt_token_ids),
            len(entry.completion_token_ids),
        )
        for entry in sequences
    ]
    return pl.DataFrame(rows, schema=polars_schema("sequences"), orient="row")


class FakeEngine:
    """Log-probs that, like a real engine's, depend in their last digits on what else is in the call."""

    def __init__(self, pause=0.0, short=False, route="fake", tokens=False, spoil=None):
        self.calls = []
        self.closed = False
        self.route = route
        self.switches = ()
        self._pause = pause
        self._short = short
        self._tokens = tokens
        self._spoil = spoil

    def settle(self, sample):
        self.sample = sample
        return self.route

    def score(self, sequences):
        time.sleep(self._pause)
        self.calls.append([entry.sequence_id for entry in sequences])
        noise = len(sequences) * 1e-9 + sum(len(entry.prompt_token_ids) for entry in sequences) * 1e-12
        return [
            Score(
                entry.sequence_id,
                -float(sum(entry.completion_token_ids)) - noise * place if self._spoil is None else self._spoil,
                len(entry.completion_token_ids) - self._short,
                tuple(-float(token) for token in entry.completion_token_ids) if self._tokens else None,
            )
            for place, entry in enumerate(sequences)
        ]

    def close(self):
        self.closed = True


def score_all(
    table,
    stores,
    open_engine,
    shard_rows=8,
    *,
    token_logps=False,
    totals=None,
    steps=None,
    block_rows=BLOCK_ROWS,
    bucket_tokens=BUCKET_TOKENS,
):
    """Log-probs of a table from stores and an engine, as a stage asks for them."""

    @contextmanager
    def bar(total):
        (totals if totals is not None else []).append(total)
        yield (steps if steps is not None else []).append

    blocks = blocks_of(table, block_rows)
    scratch = Path(tempfile.mkdtemp()) / "scratch"
    work = Work(blocks, catalogue(blocks), stores, shard_rows, token_logps, scratch, bucket_tokens)
    return score_missing(work, open_engine, bar)
