"""What training rows the first rows of a log give, and which method they suit."""

from typing import Final, NamedTuple

import polars as pl

from ..config import PairsConfig, ResponsesConfig, UnpairedConfig
from ..stages import events, pairs, responses, unpaired

# A pair holds two answers: at one pair for four rated answers half of these are in one.
_SHARE: Final = 4
_MANY_PAIRS: Final = 1_000


class Amounts(NamedTuple):
    """Rows that the line makes with its defaults.

    Attributes:
        prompts: Different prompts.
        answers: Different answers to them.
        desirable: Unpaired rows with a thumb up.
        undesirable: Unpaired rows with a thumb down.
        pairs: Pairs.
        users: Different users who voted.
    """

    prompts: int
    answers: int
    desirable: int
    undesirable: int
    pairs: int
    users: int

    @property
    def unpaired(self) -> int:
        """Rows for KTO."""
        return self.desirable + self.undesirable


class Method(NamedTuple):
    """A training method, and why it."""

    name: str
    why: str


def amounts_of(raw: pl.DataFrame) -> Amounts:
    """What raw events give, by the stages' own code."""
    table = events.transform(raw)
    made = responses.transform(table.lazy(), ResponsesConfig())
    answered, compared = made.responses.collect(), made.comparisons.collect()
    labels = unpaired.transform(answered.lazy(), UnpairedConfig()).collect()["label"]
    both = pairs.transform(answered.lazy(), compared.lazy(), PairsConfig(), ResponsesConfig())
    up = int(labels.sum())
    return Amounts(
        prompts=table["prompt_id"].n_unique(),
        answers=table["response_id"].n_unique(),
        desirable=up,
        undesirable=len(labels) - up,
        pairs=both.pairs.collect().height,
        users=table["user_id"].drop_nulls().n_unique(),
    )


def method_for(found: Amounts, *, whole: bool = True) -> Method:
    """DPO where there is a pair for four rated answers, or where pairs are many; else KTO.

    Args:
        found: What the rows give.
        whole: Whether these are all rows of the log.
    """
    method = _suited(found)
    return method if whole else method._replace(why=f"{method.why}; so it is among the first rows, all may have more")


def _suited(found: Amounts) -> Method:
    both = f"{found.pairs:,} {'pair' if found.pairs == 1 else 'pairs'} of them"
    counts = f"answers: {found.desirable:,} up, {found.undesirable:,} down, {both}"
    if found.pairs and _SHARE * found.pairs >= found.unpaired:
        return Method("dpo", f"{counts}: DPO learns from pairs, and most answers are in one")
    if found.pairs >= _MANY_PAIRS:
        return Method("dpo", f"{counts}: DPO learns from pairs, of which there are many")
    if not found.desirable or not found.undesirable:
        return Method("kto", f"{counts}: votes of one kind teach nothing; KTO once there are both")
    return Method("kto", f"{counts}: KTO takes single rated answers, and few of these are in a pair")
