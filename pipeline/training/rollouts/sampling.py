"""Answers from the weights of the step: by the model in training itself, or by vLLM, which is given them anew."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from ...config import EngineConfig
from ...engines.head import no_progress_bar
from ...engines.sampling import Draw, Sampled, SamplingSettings
from ...engines.sampling_hf import ModelSampler
from ..adapters import Base, save_adapter
from ..attention.interface import use_segments
from ..policy import Policy
from ..scorer import VALUE_HEAD
from .values import VALUE_MODEL


class AnswerSource(Protocol):
    """What writes answers with the policy's present weights."""

    def sample(self, draws: Sequence[Draw]) -> list[Sampled]:
        """One answer a draw, in the order given.

        Raises:
            EngineError: The model cannot sample.
        """

    def close(self) -> None:
        """Free what it holds beside the policy."""


class PolicySampler:
    """The model in training: its weights are read where they lie."""

    def __init__(self, policy: Policy, own_attention: str, settings: SamplingSettings, batch_tokens: int) -> None:
        """Look at the model's head; nothing is copied.

        Args:
            policy: The model in training.
            own_attention: The attention that it has where it is not trained over segments.
            settings: How tokens are drawn.
            batch_tokens: Tokens of prompts a batch.
        """
        self._policy, self._attention = policy, own_attention
        with as_it_answers(policy, own_attention):
            self._sampler = ModelSampler(policy.model, policy.device, settings, batch_tokens, asked_by="train")

    def sample(self, draws: Sequence[Draw]) -> list[Sampled]:
        """One answer a draw, in the type in which the model is trained."""
        scorer: Any = self._policy.scorer
        dtype: torch.dtype | None = scorer.autocast_dtype
        with (
            as_it_answers(self._policy, self._attention),
            torch.autocast(self._policy.device.type, dtype or torch.bfloat16, enabled=dtype is not None),
        ):
            return self._sampler.sample(draws)

    def close(self) -> None:
        """Nothing: the model is the trainer's."""


class VLLMPolicySampler:
    """vLLM in a process of its own, which is given the policy's weights, or its adapter, before each call."""

    def __init__(
        self, policy: Policy, model_dir: Path, config: EngineConfig, settings: SamplingSettings, places: "Places"
    ) -> None:
        """Start the process.

        Args:
            policy: The model in training.
            model_dir: Folder of the untrained model.
            config: The engine's settings.
            settings: How tokens are drawn.
            places: Where weights lie while they are handed over, and the longest prompt.
        """
        from ...engines.vllm.sampler import VLLMSampler

        self._policy, self._folder, self._number = policy, places.folder, 0
        if policy.adapted is not None:
            config = config.model_copy(update={"adapter": str(self._write())})
        elif config.adapter is not None:
            # The policy has it in its own weights.
            config = config.model_copy(update={"adapter": None})
        self._sampler = VLLMSampler(model_dir, config, settings, places.longest, takes_weights=True)

    def sample(self, draws: Sequence[Draw]) -> list[Sampled]:
        """One answer a draw, from the policy's present weights.

        Raises:
            EngineError: vLLM cannot take the weights or sample, or its process ended.
        """
        written = self._write()
        self._sampler.take_weights(written, self._number)
        shutil.rmtree(self._folder / str(self._number - 1), ignore_errors=True)
        return self._sampler.sample(draws)

    def _write(self) -> Path:
        self._number += 1
        folder = self._folder / str(self._number)
        if self._policy.adapted is not None:
            save_adapter(self._policy, Base("policy", None), folder)
            return folder
        with no_progress_bar():
            own = {
                name: weight
                for name, weight in self._policy.model.state_dict().items()
                if not name.startswith((f"{VALUE_HEAD}.", f"{VALUE_MODEL}."))
            }
            self._policy.model.save_pretrained(folder, state_dict=own)
        return folder

    def close(self) -> None:
        """End the process; its memory is free when this returns."""
        self._sampler.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Places(NamedTuple):
    """What vLLM's process needs to know of a run.

    Attributes:
        folder: Where weights lie while they are handed over.
        longest: Tokens of the longest prompt.
    """

    folder: Path
    longest: int


@contextmanager
def as_it_answers(policy: Policy, own_attention: str) -> Iterator[None]:
    """The model with its own attention, which takes a cache, and out of training, where checkpointing takes none."""
    policy.model.eval()
    if policy.layout != "padded":
        policy.model.set_attn_implementation(own_attention)
    try:
        yield
    finally:
        if policy.layout != "padded":
            use_segments(policy.model)
        policy.model.train()
