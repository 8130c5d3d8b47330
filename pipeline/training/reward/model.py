"""A causal language model made a thumbs model: its body, with a new head that gives one score at the last token."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ...engines.adapters import merge_adapter
from ...engines.head import body_of, no_progress_bar
from ...engines.thumbs_model import score_head
from ...errors import ConfigError, EngineError
from ..forward import Batch
from ..layouts import arranged
from ..policy import Policy, load_policy
from ..probe import Choice, with_layout
from ..rows import TrainingSequence

# Any token: its hidden state is never looked at, the state that would predict it is.
_AFTER_THE_LAST: Final = 0


class RewardScorer(torch.nn.Module):
    """A sequence classifier's body and head as one module: a batch in, scores out."""

    def __init__(self, model: Any, autocast_dtype: torch.dtype | None) -> None:
        """Take the model as it is.

        Args:
            model: A transformers sequence classifier with one label.
            autocast_dtype: Type of the body's matrix products; None for the weights' own.
        """
        super().__init__()
        self.model = model
        self.autocast_dtype = autocast_dtype

    def forward(self, batch: Batch) -> torch.Tensor:
        """(asked,) float32 scores of the sequences of a batch on the model's device.

        Args:
            batch: Sequences of at least one completion token, of which the state that predicts the last one is taken.
        """
        enabled = self.autocast_dtype is not None
        with torch.autocast(batch.input_ids.device.type, self.autocast_dtype or torch.bfloat16, enabled=enabled):
            body = body_of(self.model)
            states = body(input_ids=batch.input_ids, use_cache=False, **batch.attention).last_hidden_state
        last = batch.completions.places[batch.completions.counts.cumsum(0) - 1]
        scores: torch.Tensor = states.flatten(0, 1)[last].float() @ score_head(self.model).weight.float()[0]
        return scores[batch.completions.asked]


def scores_of(policy: Policy, sequences: Sequence[TrainingSequence]) -> torch.Tensor:
    """(sequences,) float32 scores; carries the gradient where gradients are on.

    Args:
        policy: A thumbs model in training.
        sequences: At least one.
    """
    # What would predict a further token is the state of the last one, in whichever layout.
    longer = [
        replace(sequence, completion_token_ids=np.append(sequence.completion_token_ids, _AFTER_THE_LAST))
        for sequence in sequences
    ]
    batch = arranged(longer, policy.layout).batch
    policy.meter.add(batch.input_ids.numel(), gradient=torch.is_grad_enabled())
    scores: torch.Tensor = policy.scorer(batch.to(policy.device))
    return scores


def load_reward_policy(
    model_dir: Path,
    *,
    adapter: Path | None,
    device: str,
    dtype: str,
    seed: int,
    layers: int | None = None,
    gradient_checkpointing: bool = False,
) -> Choice:
    """The thumbs model before its first step, in the layout that a probe finds to give what padding gives.

    Args:
        model_dir: Folder of a causal language model.
        adapter: A LoRA adapter that is merged into it first; None for none.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `bfloat16` for autocast, or `float32`.
        seed: Of the head's first weights.
        layers: How many of its layers are kept, from the first; None for all.
        gradient_checkpointing: Recompute activations in the backward pass.

    Raises:
        InputError: No causal language model can be loaded from the folder.
        ConfigError: Transformers has no sequence classifier of its kind, or it has fewer layers than are to be kept.
    """
    with no_progress_bar():
        policy = load_policy(model_dir, device=device, dtype=dtype, gradient_checkpointing=gradient_checkpointing)
    if adapter is not None:
        merge_adapter(policy.model, adapter)
    if layers is not None:
        keep_first_layers(policy.model, layers)
    chosen = with_layout(policy, "auto")
    return chosen._replace(policy=_with_score(chosen.policy, seed))


def keep_first_layers(model: Any, count: int) -> None:
    """Drop a model's layers but the first ones, in place; its configuration says so.

    Args:
        model: A transformers causal language model.
        count: How many layers stay.

    Raises:
        ConfigError: It has fewer, or does not hold its layers as one list.
    """
    body, config = body_of(model), model.config.get_text_config()
    layers = getattr(body, "layers", None)
    if not isinstance(layers, torch.nn.ModuleList) or len(layers) != config.num_hidden_layers:
        raise ConfigError(f"thumbs.layers: {type(model).__name__} has no list of layers to shorten. Leave it unset.")
    if count > len(layers):
        raise ConfigError(f"thumbs.layers: {count} of {len(layers)} layers; set at most {len(layers)}.")
    body.layers = layers[:count]
    config.num_hidden_layers = count
    # Where layers differ, one word a layer stands in the configuration, and is checked against their number.
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = config.layer_types[:count]


def _with_score(policy: Policy, seed: int) -> Policy:
    """The sequence classifier of the policy's kind around its own body."""
    from transformers import AutoModelForSequenceClassification

    config = policy.model.config
    config.num_labels = 1
    try:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
        score_head(model)
    except (ValueError, EngineError) as error:
        raise ConfigError(
            f"thumbs.method: transformers has no sequence classifier of {type(policy.model).__name__} that gives one "
            f"score ({error}). Set thumbs.method to none, or thumbs.model to a thumbs model."
        ) from error
    setattr(model, model.base_model_prefix, body_of(policy.model))
    model.score = _first_head(config.get_text_config().hidden_size, seed).to(policy.device)
    # Made on no device, it was told of no attention but its config's.
    model.train()
    return replace(policy, model=model, scorer=RewardScorer(model, _autocast(policy)))


def _first_head(size: int, seed: int) -> torch.nn.Linear:
    """A head whose first scores are near 0: half of all thumbs.

    Source: Stiennon et al. (2020), "Learning to summarize from human feedback" (arXiv 2009.01325), appendix B.1, draw
    from N(0, 1 / (d + 1)); these weights are smaller by their own spread once more, since few steps are taken.
    """
    head = torch.nn.Linear(size, 1, bias=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(1, size, generator=generator) / (size + 1))
    return head


def _autocast(policy: Policy) -> torch.dtype | None:
    scorer: Any = policy.scorer
    dtype: torch.dtype | None = scorer.autocast_dtype
    return dtype
