"""What predicts the reward to come: a layer on the policy's own states, or a model that begins as the thumbs model.

Either lies in the policy's model, so that the optimiser, checkpoints and the best weights hold it with the rest, and is
taken out before the model is written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch

from thumbline.losses.logps import by_position

from ...config import TrainConfig
from ...engines.head import body_of, no_progress_bar, with_own_attention
from ...engines.thumbs_model import score_head
from ...errors import EngineError
from ..dropout import turn_off_modules, without_dropout
from ..layouts import arranged
from ..policy import Policy
from ..rounding import RATE_FACTOR
from ..rows import TrainingSequence
from ..scorer import VALUE_HEAD

VALUE_MODEL: Final = "value_model"


class ValueHead(torch.nn.Module):
    """A layer on the policy's states, scaled to length 1: they keep no gradient, so the policy is not bent by it."""

    def __init__(self, size: int, rate: float) -> None:
        """Begin with 0 everywhere.

        Args:
            size: Of a state.
            rate: Multiple of the run's learning rate that it learns at.
        """
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(size))
        self.bias = torch.nn.Parameter(torch.zeros(1))
        for weight in self.parameters():
            setattr(weight, RATE_FACTOR, rate)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(tokens,) float32 values of (tokens, size) states."""
        own = torch.nn.functional.normalize(states.detach().float(), dim=-1)
        with torch.autocast(states.device.type, enabled=False):
            return own @ self.weight + self.bias


def add_values(policy: Policy, config: TrainConfig, thumbs_model: Path) -> None:
    """Give the policy's model what predicts rewards.

    Args:
        policy: The untrained policy, adapter included.
        config: Which kind, and its rate.
        thumbs_model: Folder of the thumbs model.

    Raises:
        EngineError: The thumbs model cannot be loaded.
    """
    if config.rollouts.value_model == "policy":
        size = policy.model.config.get_text_config().hidden_size
        setattr(policy.model, VALUE_HEAD, ValueHead(size, config.rollouts.value_rate).to(policy.device))
    else:
        setattr(policy.model, VALUE_MODEL, _value_model(thumbs_model, config.weights).to(policy.device))


def take_out_values(policy: Policy) -> None:
    """Leave the policy's model as it was before `add_values`."""
    for name in (VALUE_HEAD, VALUE_MODEL):
        if hasattr(policy.model, name):
            delattr(policy.model, name)


def own_values(policy: Policy, sequences: Sequence[TrainingSequence]) -> torch.Tensor | None:
    """(sequences, longest completion) float32 values before each token; None where the policy has no second model.

    Args:
        policy: With what `add_values` gave it.
        sequences: At least one.
    """
    model = getattr(policy.model, VALUE_MODEL, None)
    if model is None:
        return None
    # It has the attention that it was loaded with, whatever the policy's layout is.
    batch = arranged(sequences, "padded").batch.to(policy.device)
    policy.meter.add(batch.input_ids.numel(), gradient=torch.is_grad_enabled())
    dtype: torch.dtype | None = getattr(policy.scorer, "autocast_dtype", None)
    with torch.autocast(policy.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
        states = body_of(model)(input_ids=batch.input_ids, use_cache=False, **batch.attention).last_hidden_state
    wanted = batch.completions
    found = states.flatten(0, 1)[wanted.places].float() @ score_head(model).weight.float()[0]
    mask = torch.arange(int(wanted.counts.max()), device=policy.device) < wanted.counts[:, None]
    return by_position(found, mask)


def _value_model(folder: Path, weights: str) -> Any:
    """The thumbs model, to be trained: its own weights, in the policy's type, dropout off."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    try:
        with no_progress_bar():
            config = with_own_attention(without_dropout(AutoConfig.from_pretrained(folder)))
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, config=config, dtype=getattr(torch, weights)
            )
    except (OSError, ValueError) as error:
        raise EngineError(f"{folder}: no thumbs model can be loaded from this folder: {error}") from error
    score_head(model)
    turn_off_modules(model)
    return model.train()
