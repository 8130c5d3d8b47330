"""A few random sequences, and what a policy makes of them: log-probs of all tokens, and a gradient."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from .policy import Policy
from .rows import TrainingSequence

# (prompt tokens, completion tokens of each answer): a pair, several answers, one alone after a prompt of one token.
_SEQUENCES: Final = ((17, (5, 9)), (6, (3, 1, 7)), (1, (4,)), (19, (8,)))
# (which prompt of those, completion tokens).
_PARTNERS: Final = ((0, 6), (1, 2), (3, 5))


class Difference(NamedTuple):
    """How far apart two ways to compute the sample are.

    Attributes:
        logps: Largest difference of a token's log-prob, nats; of prompts and partners that of their means.
        gradient: Norm of the difference of the gradients of the tokens' embeddings, over the gradient's norm.
    """

    logps: float
    gradient: float


class Sample(NamedTuple):
    """What is computed in one forward pass.

    Attributes:
        sequences: With a gradient.
        partners: Without, after the prompts of some of them.
        factors: (sequences,) float64, of log-probs in what is differentiated.
    """

    sequences: list[TrainingSequence]
    partners: list[TrainingSequence]
    factors: torch.Tensor

    def one_by_one(self) -> list["Sample"]:
        """The sequences alone, without partners."""
        return [Sample([row], [], factor[None]) for row, factor in zip(self.sequences, self.factors, strict=True)]


class Computed(NamedTuple):
    """What came of it.

    Attributes:
        logps: (tokens,) float64 nats of completions' tokens, then a mean for each prompt.
        partners: (partners,) float64 nats a token; none where none were computed.
        gradient: (tokens in use, hidden) float64, of the embeddings of each token id.
    """

    logps: torch.Tensor
    partners: torch.Tensor
    gradient: torch.Tensor

    def difference(self, other: "Computed") -> Difference:
        """How far another is from this one."""
        apart = (other.logps - self.logps).abs().max()
        if len(other.partners):
            apart = torch.maximum(apart, (other.partners - self.partners).abs().max())
        gradient = (other.gradient - self.gradient).norm() / self.gradient.norm()
        return Difference(float(apart), float(gradient))


def random_sample(vocabulary: int, generator: np.random.Generator) -> Sample:
    """Random tokens in sequences of which some begin with the same prompt.

    Args:
        vocabulary: How many tokens there are.
        generator: Draws them.
    """

    def draw(count: int) -> tuple[int, ...]:
        return tuple(generator.integers(1, vocabulary, count).tolist())

    prompts = [draw(length) for length, _ in _SEQUENCES]
    sequences = [
        TrainingSequence("probe", prompt, draw(count), None)
        for prompt, (_, completions) in zip(prompts, _SEQUENCES, strict=True)
        for count in completions
    ]
    partners = [TrainingSequence("probe", prompts[index], draw(count), None) for index, count in _PARTNERS]
    factors = torch.from_numpy(generator.normal(size=len(sequences)))
    # Answers to one prompt come apart from each other, as they do in a batch of chosen, then rejected.
    return Sample(sequences[::2] + sequences[1::2], partners, factors)


def compute(policy: Policy, parts: Sequence[Sample]) -> Computed:
    """Log-probs of samples and the gradient of their weighted sum, a forward pass for each.

    Args:
        policy: The model; its weights get no gradient.
        parts: Samples.
    """
    used = sorted({0, *(token for part in parts for row in part.sequences for token in _tokens(row))})
    gradient: torch.Tensor | None = None
    tokens, prompts, partners = list[torch.Tensor](), list[torch.Tensor](), list[torch.Tensor]()
    for part in parts:
        with _embeddings(policy.model) as embedded:
            passed = policy.pass_over(part.sequences, prompts=True, tokens=True, partners=part.partners)
        if passed.tokens is None or passed.prompts is None:
            raise TypeError("a forward pass without the log-probs that were asked for")
        mean = passed.prompts.logps / passed.prompts.token_counts.clamp(min=1)
        total = (part.factors.to(policy.device) * (passed.completions.logps + mean)).sum()
        added = _by_token(embedded, torch.autograd.grad(total, [states for _, states in embedded]), used)
        gradient = added if gradient is None else gradient + added
        tokens.append(passed.tokens.logps[passed.tokens.mask].double())
        prompts.append(mean)
        if passed.partners is not None:
            partners.append(passed.partners.logps / passed.partners.token_counts)
    if gradient is None:
        raise ValueError("no sample")
    logps = torch.cat([*tokens, *prompts]).detach().cpu()
    return Computed(logps, torch.cat(partners).cpu() if partners else logps[:0], gradient)


def _tokens(sequence: TrainingSequence) -> Iterator[int]:
    yield from map(int, sequence.prompt_token_ids)
    yield from map(int, sequence.completion_token_ids)


@contextmanager
def _embeddings(model: Any) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """The token ids that pass the model's embeddings, and what comes out, with a gradient though they be frozen."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(_: Any, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if torch.is_grad_enabled():
            seen.append((arguments[0], output if output.requires_grad else output.requires_grad_()))

    handle = model.get_input_embeddings().register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def _by_token(
    embedded: Sequence[tuple[torch.Tensor, torch.Tensor]], gradients: Sequence[torch.Tensor], used: Sequence[int]
) -> torch.Tensor:
    """(tokens in use, hidden) float64 gradients of a token id's embedding, summed over where it stands."""
    table = torch.zeros(len(used), gradients[0].shape[-1], dtype=torch.float64)
    for (ids, _), gradient in zip(embedded, gradients, strict=True):
        rows = torch.searchsorted(torch.tensor(used), ids.flatten().cpu())
        table = table.index_add(0, rows, gradient.flatten(0, 1).double().cpu())
    return table
