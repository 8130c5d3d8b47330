"""The model in training: one set of weights, and log-probs of completions under it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from thumbline.losses.logps import SequenceLogps

from ..engines.head import head_of, with_own_attention
from ..engines.loading import loading
from ..engines.quantised import NF4, load_nf4
from ..errors import InputError
from .dropout import turn_off_modules, without_dropout
from .layouts import Layout, arranged
from .rows import TrainingSequence
from .scorer import ForwardPass, Scorer


class Counted(NamedTuple):
    """Tokens that a model's layers computed, padding included.

    Attributes:
        trained: With a gradient.
        measured: Without one.
    """

    trained: int
    measured: int


class Meter:
    """How many tokens a model has computed."""

    def __init__(self) -> None:
        """Begin at none."""
        self.total = self._taken = Counted(0, 0)

    def add(self, tokens: int, *, gradient: bool) -> None:
        """Count the tokens of a pass."""
        trained, measured = (tokens, 0) if gradient else (0, tokens)
        self.total = Counted(self.total.trained + trained, self.total.measured + measured)

    def take(self) -> Counted:
        """Tokens since this was last asked."""
        before, self._taken = self._taken, self.total
        return Counted(self.total.trained - before.trained, self.total.measured - before.measured)


@dataclass(frozen=True)
class Policy:
    """A loaded model.

    Attributes:
        model: The transformers model.
        scorer: The module whose forward pass is trained: the model, or what holds it.
        device: Where it lies.
        saved_dtype: Type that its weights had on disk, and get again.
        adapted: peft's view of the model, where an adapter is trained; None for full training.
        layout: How sequences become a forward pass; all but `padded` take a model that attends over segments.
        meter: Tokens that its layers computed, padding and partners included.
    """

    model: Any
    scorer: torch.nn.Module
    device: torch.device
    saved_dtype: torch.dtype
    adapted: Any = None
    layout: Layout = "padded"
    meter: Meter = field(default_factory=Meter)

    def logps(self, sequences: Sequence[TrainingSequence]) -> SequenceLogps:
        """Summed log-probs of each completion; carries the gradient where gradients are on."""
        return self.pass_over(sequences).completions

    def pass_over(
        self,
        sequences: Sequence[TrainingSequence],
        *,
        prompts: bool = False,
        tokens: bool = False,
        partners: Sequence[TrainingSequence] = (),
        each: bool = False,
    ) -> ForwardPass:
        """Log-probs of each completion, and what else is asked for, from one forward pass.

        Args:
            sequences: At least one.
            prompts: Also those of each prompt after its first token.
            tokens: Also those of single completion tokens.
            partners: Sequences whose completions are measured too, without a gradient. In the layout `shared` a partner
                with the prompt of one of `sequences` costs its completion's tokens alone.
            each: Instead of these, log-probs of single tokens alone, and values where the model has a value head.
        """
        batch, measured = arranged(sequences, self.layout, prompts=prompts, partners=partners)
        self.meter.add(batch.input_ids.numel(), gradient=torch.is_grad_enabled())
        others = None if measured is None else measured.to(self.device)
        if others is not None:
            self.meter.add(others.input_ids.numel(), gradient=False)
        passed: ForwardPass = self.scorer(batch.to(self.device), tokens=tokens, partners=others, each=each)
        return passed


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
    model_dir: Path,
    *,
    device: str,
    dtype: str,
    gradient_checkpointing: bool,
    weights: str = "float32",
    hollow: bool = False,
) -> Policy:
    """The model in `model_dir`, ready to train: dropout off.

    Dropout is off because stored reference log-probs have none: with it, policy and reference would differ
    before the first step.

    Args:
        model_dir: Folder of a transformers model.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `bfloat16` for autocast, or `float32`.
        gradient_checkpointing: Recompute activations in the backward pass.
        weights: Type of the weights: `float32`, `bfloat16`, or `nf4` where they are the frozen base of an adapter.
        hollow: Leave the weights unwritten, since they come from another process: they take no memory until they do.

    Raises:
        MissingDependencyError: The weights take a library that is not installed.
        InputError: No causal language model can be loaded from the folder.
    """
    from transformers import AutoConfig

    place = choose_device(device)
    with loading(f"{model_dir}: no causal language model can be loaded from this folder", InputError):
        config = AutoConfig.from_pretrained(model_dir)
        saved = getattr(config, "dtype", None) or torch.float32
        config = with_own_attention(without_dropout(config))
        model = _hollow(config, weights) if hollow else _load(model_dir, config, weights, place)
    return policy_of(model, place, saved, dtype=dtype, gradient_checkpointing=gradient_checkpointing, hollow=hollow)


def policy_of(
    model: Any,
    device: torch.device,
    saved_dtype: torch.dtype,
    *,
    dtype: str,
    gradient_checkpointing: bool,
    hollow: bool = False,
) -> Policy:
    """A model that lies on its device, ready to train: dropout off.

    Args:
        model: A transformers causal language model.
        device: Where it lies.
        saved_dtype: Type that its weights have on disk.
        dtype: `bfloat16` for autocast, or `float32`.
        gradient_checkpointing: Recompute activations in the backward pass.
        hollow: Its weights are not written yet, so that its head cannot be looked at.

    Raises:
        EngineError: Its head is of a kind that log-probs cannot be computed from.
    """
    turn_off_modules(model)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    if not hollow:
        head_of(model)
    return Policy(model, Scorer(model, torch.bfloat16 if dtype == "bfloat16" else None), device, saved_dtype)


def _hollow(config: Any, weights: str) -> Any:
    """A model of unwritten weights, on the CPU: the system gives memory to what is written to, and to no more."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, weights))
    model.to_empty(device="cpu")
    model.tie_weights()
    return model


def _load(model_dir: Path, config: Any, weights: str, place: torch.device) -> Any:
    from transformers import AutoModelForCausalLM

    if weights == NF4:
        return load_nf4(model_dir, place, config)
    return AutoModelForCausalLM.from_pretrained(model_dir, config=config, dtype=getattr(torch, weights)).to(place)
