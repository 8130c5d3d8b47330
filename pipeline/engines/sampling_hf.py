"""Sampling with transformers: a prompt is computed once for all its answers, and answers that ended leave the batch."""

import gc
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from ..config import EngineConfig
from ..errors import EngineError
from .head import body_of, head_of
from .hf import loaded_model
from .sampling import Draw, Sampled, SamplingSettings, ended

# Leaving a batch copies what the others have in the cache: done once so many rows of it are of ended answers.
_ENDED_SHARE: Final = 0.25


class Prompt(NamedTuple):
    """A prompt, and which of the draws ask for an answer to it.

    Attributes:
        token_ids: Of the prompt.
        draws: Numbers of the draws.
    """

    token_ids: tuple[int, ...]
    draws: list[int]


class ModelSampler:
    """A transformers model that is loaded already, and samples with the weights that it has at each call.

    Tokens are drawn from the float32 distribution that the last hidden states give, after transformers' own warpers,
    by one number between 0 and 1 a token, which follows from the draw's seed and the token's place alone.
    """

    def __init__(
        self, model: Any, device: torch.device, settings: SamplingSettings, batch_tokens: int, asked_by: str
    ) -> None:
        """Take the model as it is.

        Args:
            model: A causal language model whose logits are states times head.
            device: Where it lies.
            settings: How tokens are drawn.
            batch_tokens: Tokens of prompts a batch.
            asked_by: Section of the settings that holds its dtype, for errors.

        Raises:
            EngineError: It makes logits in another way.
        """
        self._model, self._device = model, device
        self._head = head_of(model)
        self._batch_tokens = batch_tokens
        self._settings = settings
        self._asked_by = asked_by
        self._warpers = _warpers(settings)

    def sample(self, draws: Sequence[Draw]) -> list[Sampled]:
        """One answer a draw, in the order given."""
        answers: dict[int, Sampled] = {}
        for prompts in batches(draws, self._batch_tokens):
            rows = [index for prompt in prompts for index in prompt.draws]
            drawn = self._tokens(prompts, _uniforms([draws[index].seed for index in rows], self._settings))
            answers |= {index: ended(ids, self._settings) for index, ids in zip(rows, drawn, strict=True)}
        return [answers[index] for index in range(len(draws))]

    @torch.no_grad()
    def _tokens(self, prompts: Sequence[Prompt], uniforms: torch.Tensor) -> list[list[int]]:
        """Tokens of each answer; some go on after an end token.

        Args:
            prompts: Those of one batch.
            uniforms: (answers, max_new_tokens) float64 in [0, 1), answers in the order of the prompts.
        """
        batch = self.prefill(prompts)
        ends = torch.tensor(self._settings.end_token_ids, dtype=torch.int64)
        answers: list[list[int]] = [[] for _ in range(uniforms.shape[0])]
        rows, is_over = torch.arange(len(answers)), torch.zeros(len(answers), dtype=torch.bool)
        for place in range(self._settings.max_new_tokens):
            tokens = self.pick(batch.hidden, uniforms[rows, place])
            for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
                answers[row].append(token)
            is_over |= torch.isin(tokens, ends)
            if bool(is_over.all()) or place + 1 == self._settings.max_new_tokens:
                break
            if int(is_over.sum()) >= _ENDED_SHARE * len(rows):
                rows, tokens = rows[~is_over], tokens[~is_over]
                batch.keep((~is_over).nonzero()[:, 0].to(self._device))
                is_over = is_over[~is_over]
            batch.step(body_of(self._model), tokens.to(self._device))
        return answers

    def prefill(self, prompts: Sequence[Prompt]) -> "Batch":
        """The prompts through the model, padded on the left, then one row an answer.

        Args:
            prompts: Those of one batch.
        """
        from transformers import DynamicCache

        longest = max(len(prompt.token_ids) for prompt in prompts)
        ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt.token_ids) :] = torch.tensor(prompt.token_ids)
            mask[row, longest - len(prompt.token_ids) :] = 1
        batch = Batch(DynamicCache(config=self._model.config), mask.to(self._device))
        batch.step(body_of(self._model), ids.to(self._device))
        counts = torch.tensor([len(prompt.draws) for prompt in prompts])
        batch.keep(torch.arange(len(prompts)).repeat_interleave(counts).to(self._device))
        return batch

    def pick(self, hidden: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
        """(rows,) tokens on the CPU.

        Args:
            hidden: (rows, width) last hidden states.
            uniforms: (rows,) float64 in [0, 1).

        Raises:
            EngineError: A logit is not finite.
        """
        head = self._head
        logits = F.linear(hidden, head.weight, head.bias).float() * head.scale
        if head.soft_cap is not None:
            logits = head.soft_cap * torch.tanh(logits / head.soft_cap)
        if not bool(torch.isfinite(logits).all()):
            raise EngineError(
                f"sampling: the model's logits are NaN or infinite. Set {self._asked_by}.dtype to float32; if that "
                f"changes nothing, the weights are broken."
            )
        if self._settings.temperature == 0.0:
            return logits.argmax(dim=-1).cpu()
        for warper in self._warpers:
            logits = warper(None, logits)
        return inverse_cdf(logits, uniforms.to(self._device)).cpu()

    def close(self) -> None:
        """Free the model's memory."""
        del self._model, self._head
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class HFSampler(ModelSampler):
    """A transformers model from a folder."""

    def __init__(self, model_dir: Path, config: EngineConfig, settings: SamplingSettings) -> None:
        """Load the model onto the GPU where there is one, else the CPU.

        Args:
            model_dir: Folder of the model.
            config: Its dtype, adapter, quantisation, and the tokens of prompts a batch are read.
            settings: How tokens are drawn.

        Raises:
            EngineError: No causal language model can be loaded from the folder, or the adapter does not fit it.
        """
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        super().__init__(
            loaded_model(model_dir, config, device), device, settings, config.batch_tokens, asked_by="reference"
        )


class Batch:
    """Rows that are decoded together.

    Attributes:
        hidden: (rows, width) last hidden state of each.
    """

    def __init__(self, cache: Any, mask: torch.Tensor) -> None:
        """Begin with an empty cache.

        Args:
            cache: A cache of transformers.
            mask: (rows, prompt tokens) int64, 0 for padding.
        """
        self._cache = cache
        self._mask = mask
        self.hidden = torch.empty(0)

    def step(self, body: Any, tokens: torch.Tensor) -> None:
        """Put tokens through the model: (rows, prompt tokens) at first, then (rows,) one a row."""
        if tokens.dim() == 1:
            tokens = tokens[:, None]
            self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        places = (self._mask.cumsum(dim=1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        states = body(
            input_ids=tokens,
            attention_mask=self._mask,
            position_ids=places,
            past_key_values=self._cache,
            use_cache=True,
        )
        self.hidden = states.last_hidden_state[:, -1]

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows; one may be named several times."""
        self._cache.batch_select_indices(rows)
        self._mask, self.hidden = self._mask[rows], self.hidden[rows]


def inverse_cdf(logits: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """The first token up to and with which the probabilities, in the order of token ids, exceed a number.

    Args:
        logits: (rows, vocabulary) float32; -inf for a token that cannot be drawn.
        uniforms: (rows,) float64 in [0, 1).

    Returns:
        (rows,) int64 tokens.
    """
    # In float64: of a vocabulary of 100,000 the last sums would round otherwise.
    mass = logits.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    # The sum need not be 1 to the last digit.
    return torch.searchsorted(mass, (uniforms * mass[:, -1])[:, None], right=True)[:, 0]


def _warpers(settings: SamplingSettings) -> list[Any]:
    """What transformers itself does to logits before it draws, in its order."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    warpers: list[Any] = []
    if settings.temperature not in (0.0, 1.0):
        warpers.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        warpers.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        warpers.append(TopPLogitsWarper(settings.top_p))
    return warpers


def _uniforms(seeds: Sequence[int], settings: SamplingSettings) -> torch.Tensor:
    """(answers, max_new_tokens) float64 in [0, 1), each row by its own seed."""
    rows = [np.random.Generator(np.random.Philox(seed)).random(settings.max_new_tokens) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


def batches(draws: Sequence[Draw], batch_tokens: int) -> Iterator[list[Prompt]]:
    """Prompts, longest first, in batches of at most `batch_tokens` padded tokens; one that is longer is on its own."""
    together = groupby(range(len(draws)), key=lambda index: draws[index].prompt_token_ids)
    prompts = sorted(
        (Prompt(token_ids, list(indices)) for token_ids, indices in together),
        key=lambda prompt: (-len(prompt.token_ids), prompt.token_ids, prompt.draws),
    )
    batch: list[Prompt] = []
    for prompt in prompts:
        if batch and len(batch[0].token_ids) * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch
