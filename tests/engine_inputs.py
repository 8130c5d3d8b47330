"""Sequences for engines: the shapes that have gone wrong, and tables of them."""

import random

import polars as pl

from pipeline.artifacts import digest_text
from pipeline.engines.base import TokenSequence
from pipeline.tables import polars_schema


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
