"""The model in training: one set of weights, float32 where they are trained, and log-probs of completions under it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from thumbline.losses.logps import Head, SequenceLogps, TokenLogps, completion_logps, completion_token_logps

from ..engines.head import body_of, head_of
from ..errors import InputError
from .batches import Collated
from .dropout import turn_off_modules, without_dropout


@dataclass(frozen=True)
class Policy:
    """A loaded model.

    Attributes:
        model: The transformers model.
        head: Its output layer.
        device: Where it lies.
        autocast_dtype: Type of the forward pass's matrix products; None for float32 throughout.
        saved_dtype: Type that its weights had on disk, and get again.
        adapted: peft's view of the model, where an adapter is trained; None for full training.
    """

    model: Any
    head: Head
    device: torch.device
    autocast_dtype: torch.dtype | None
    saved_dtype: torch.dtype
    adapted: Any = None

    def logps(self, batch: Collated) -> SequenceLogps:
        """Summed log-probs of each completion; carries the gradient where gradients are on."""
        return self.pass_over(batch).completions

    def pass_over(self, batch: Collated, *, prompts: bool = False, tokens: bool = False) -> "ForwardPass":
        """Log-probs of each completion, and what else is asked for, from one forward pass.

        Args:
            batch: Padded sequences.
            prompts: Also those of each prompt after its first token.
            tokens: Also those of single completion tokens.
        """
        batch = batch.to(self.device)
        with self._autocast():
            hidden = self._hidden(batch)
            single = (
                completion_token_logps(hidden, self.head, batch.input_ids, batch.completion_mask) if tokens else None
            )
            whole = single.summed() if single is not None else self._sums(hidden, batch, batch.completion_mask)
            prompt = None
            if prompts:
                mask = batch.attention_mask.bool() & ~batch.completion_mask
                mask[:, 0] = False
                prompt = self._sums(hidden, batch, mask)
        return ForwardPass(whole, prompt, single)

    def _autocast(self) -> torch.autocast:
        enabled = self.autocast_dtype is not None
        return torch.autocast(self.device.type, self.autocast_dtype or torch.bfloat16, enabled=enabled)

    def _hidden(self, batch: Collated) -> torch.Tensor:
        states: torch.Tensor = body_of(self.model)(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
        ).last_hidden_state
        return states

    def _sums(self, hidden: torch.Tensor, batch: Collated, mask: torch.Tensor) -> SequenceLogps:
        return completion_logps(hidden, self.head, batch.input_ids, mask)


class ForwardPass(NamedTuple):
    """What one forward pass over a batch gives.

    Attributes:
        completions: Log-probs of completions; carries the gradient.
        prompts: Log-probs of prompts after their first token; None where they were not asked for.
        tokens: Log-probs of single completion tokens; likewise.
    """

    completions: SequenceLogps
    prompts: SequenceLogps | None
    tokens: TokenLogps | None


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` is a GPU where there is one.

    Raises:
        InputError: The name is no device, or there is none of that kind.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"train.device: '{name}' is no device; write auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("train.device: no CUDA device is visible here; set it to auto or cpu.")
    return device


def load_policy(
    model_dir: Path, *, device: str, dtype: str, gradient_checkpointing: bool, weights: str = "float32"
) -> Policy:
    """The model in `model_dir`, ready to train: dropout off.

    Dropout is off because stored reference log-probs have none: with it, policy and reference would differ
    before the first step.

    Args:
        model_dir: Folder of a transformers model.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `bfloat16` for autocast, or `float32`.
        gradient_checkpointing: Recompute activations in the backward pass.
        weights: `float32`, or `bfloat16` where they are the frozen base of an adapter.

    Raises:
        InputError: No causal language model can be loaded from the folder.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    place = choose_device(device)
    try:
        config = AutoConfig.from_pretrained(model_dir)
        saved = getattr(config, "dtype", None) or torch.float32
        model = AutoModelForCausalLM.from_pretrained(
            model_dir, config=without_dropout(config), dtype=getattr(torch, weights)
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{model_dir}: no causal language model can be loaded from this folder: {error}") from error
    turn_off_modules(model)
    model.to(place)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    return Policy(model, head_of(model), place, torch.bfloat16 if dtype == "bfloat16" else None, saved)
