"""Held-out pairs that a model gets most wrong and most right, with their texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import polars as pl

from thumbline.evaluators import needs_reference, reward_of

from .formatting import excerpt
from .inputs import Missing, ReportInputs

_PROMPT_CHARACTERS: Final = 1_200
_COMPLETION_CHARACTERS: Final = 1_600
_BEST: Final = 3
TEXTS: Final = ("pair_id", "prompt", "chosen", "rejected")


class Turn(NamedTuple):
    """One message."""

    role: str
    content: str


@dataclass(frozen=True)
class Example:
    """One held-out pair.

    Attributes:
        pair_id: Its id.
        margin: Reward of chosen minus reward of rejected, under the model.
        chosen_reward: Reward of chosen.
        rejected_reward: Reward of rejected.
        chosen_tokens: Tokens of chosen.
        rejected_tokens: Tokens of rejected.
        chosen_better_probability: How sure the votes are that chosen is better, in [0, 1].
        prompt: Messages of the prompt; None where no text was given.
        chosen: Text of chosen; None likewise.
        rejected: Text of rejected; None likewise.
    """

    pair_id: str
    margin: float
    chosen_reward: float
    rejected_reward: float
    chosen_tokens: int
    rejected_tokens: int
    chosen_better_probability: float
    prompt: tuple[Turn, ...] | None
    chosen: str | None
    rejected: str | None


@dataclass(frozen=True)
class Examples:
    """The section on examples.

    Attributes:
        model: Whose rewards these are.
        worst: Pairs with a negative margin, worst first.
        best: Pairs with the largest margins.
        wrong: How many pairs have a negative margin.
        pairs: How many pairs there are.
        has_text: Whether the texts were given.
    """

    model: str
    worst: tuple[Example, ...]
    best: tuple[Example, ...]
    wrong: int
    pairs: int
    has_text: bool


def rewards(inputs: ReportInputs, kind: str) -> pl.DataFrame | Missing:
    """Scored rows with a reward a side: `chosen_reward`, `rejected_reward` and `margin`, or `reward`.

    Args:
        inputs: The report's inputs.
        kind: `pairs` or `unpaired`.
    """
    frame = inputs.table(f"scored_{kind}")
    if frame is None:
        rows = "pairs" if kind == "pairs" else "unpaired rows"
        return Missing(f"No held-out {rows} were scored, so there is nothing to show of their rewards.")
    if inputs.beta is None:
        return Missing("The scale of a reward (beta) is not known, so no reward is shown.")
    sides = ("chosen_", "rejected_") if kind == "pairs" else ("",)
    references = [f"reference_{side}logps" for side in sides]
    if needs_reference(inputs.reward) and frame.select(pl.any_horizontal(pl.col(references).is_null()).any()).item():
        return Missing("The reward is measured against a reference model, and these rows have no reference log-probs.")
    beta = inputs.beta
    scored = frame.with_columns(reward_of(inputs.reward, beta, side).alias(f"{side}reward") for side in sides)
    if kind == "pairs":
        scored = scored.with_columns(margin=pl.col("chosen_reward") - pl.col("rejected_reward"))
    return scored


def examples(inputs: ReportInputs, model: str | None) -> Examples | Missing:
    """The worst and the best held-out pairs of `model`."""
    scored = rewards(inputs, "pairs")
    if isinstance(scored, Missing):
        return scored
    if model is None:
        return Missing("No model is named in the scored rows.")
    rows = scored.filter(pl.col("model") == model).sort("margin", "pair_id")
    texts = inputs.table("pairs") if inputs.texts is None else inputs.texts
    has_text = texts is not None and set(TEXTS) <= set(texts.columns)
    if texts is not None and has_text:
        columns = texts.select(TEXTS)
        rows = rows.join(columns, on="pair_id", how="left", validate="1:1", maintain_order="left")
    wrong = rows.filter(pl.col("margin") < 0)
    right = rows.filter(pl.col("margin") > 0).reverse()
    return Examples(
        model=model,
        worst=_examples(wrong.head(inputs.worst_examples)),
        best=_examples(right.head(min(_BEST, inputs.worst_examples))),
        wrong=wrong.height,
        pairs=rows.height,
        has_text=has_text,
    )


def _examples(rows: pl.DataFrame) -> tuple[Example, ...]:
    return tuple(
        Example(
            pair_id=row["pair_id"],
            margin=row["margin"],
            chosen_reward=row["chosen_reward"],
            rejected_reward=row["rejected_reward"],
            chosen_tokens=row["chosen_token_count"],
            rejected_tokens=row["rejected_token_count"],
            chosen_better_probability=row["chosen_better_probability"],
            prompt=turns(row.get("prompt")),
            chosen=text_of(row.get("chosen")),
            rejected=text_of(row.get("rejected")),
        )
        for row in rows.iter_rows(named=True)
    )


def turns(messages: Sequence[dict[str, Any]] | None) -> tuple[Turn, ...] | None:
    """Messages of a prompt, long ones cut; None where there are none."""
    if messages is None:
        return None
    return tuple(Turn(message["role"], excerpt(_said(message), _PROMPT_CHARACTERS)) for message in messages)


def _said(message: dict[str, Any]) -> str:
    """A message's text, and below it the JSON of what it says beside."""
    return "\n".join(part for part in (message["content"], message.get("extra")) if part)


def text_of(messages: Sequence[dict[str, Any]] | None) -> str | None:
    """Text of an answer's messages, a long one cut; None where there are none."""
    if messages is None:
        return None
    return excerpt("\n\n".join(map(_said, messages)), _COMPLETION_CHARACTERS)
