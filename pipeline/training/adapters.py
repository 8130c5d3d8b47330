"""Adapters in training, all by peft: put into the policy, and written as an adapter or merged into a whole model.

An adapter that was not trained yet changes nothing (LoRA's second matrix is 0, DoRA's magnitudes are the weights' own),
so stored reference log-probs of the model are those of the policy before its first step.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..config import TrainConfig
from ..engines.quantised import quiet_bitsandbytes
from ..errors import ConfigError
from ..libraries import library
from .policy import Policy

_NAME = "default"


class Base(NamedTuple):
    """The model that an adapter is for, as the adapter names it.

    Attributes:
        name: A hub id, or the path of a folder.
        revision: A hub model's branch, tag or commit; None for its main one, and for a folder.
    """

    name: str
    revision: str | None


def with_adapter(policy: Policy, config: TrainConfig) -> Policy:
    """The policy with an untrained float32 adapter in its layers, and with all other weights frozen.

    Args:
        policy: The untrained model; its layers are changed in place.
        config: Kind and settings of the adapter, and the seed of its first weights.

    Raises:
        MissingDependencyError: peft is not installed.
        ConfigError: The model has no such modules, or they are its embeddings or head.
    """
    quiet_bitsandbytes()
    peft = library("peft", f"train.adapter: {config.adapter}")
    lora = config.lora
    settings = peft.LoraConfig(
        task_type=peft.TaskType.CAUSAL_LM,
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules),
        use_rslora=lora.use_rslora,
        use_dora=config.adapter == "dora",
        lora_dropout=0.0,
    )
    # peft draws first weights on the CPU, from torch's own generator: it gets back what it held.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        try:
            adapted = peft.get_peft_model(policy.model, settings)
        except ValueError as error:
            raise ConfigError(f"train.lora: peft cannot put an adapter into this model: {error}") from error
    _refuse_head(policy.model)
    for layer in _layers(policy.model):
        # peft takes DoRA's magnitudes in the type of the base: in the adapter's own they leave the base as it is.
        _set_magnitudes(layer)
    policy.model.train()
    return replace(policy, adapted=adapted)


def _layers(model: Any) -> Iterator[Any]:
    from peft.tuners.lora import LoraLayer

    return (module for module in model.modules() if isinstance(module, LoraLayer))


def _refuse_head(model: Any) -> None:
    """Log-probs are computed from the head's own weight, and a head tied to the embeddings is two layers' weight."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if any(layer is end for layer in _layers(model) for end in ends):
        raise ConfigError(
            "train.lora: target_modules names the head or the embeddings; name layers between them, or all-linear."
        )


def _set_magnitudes(layer: Any) -> None:
    vector = getattr(layer, "lora_magnitude_vector", {})
    if _NAME in vector:
        vector[_NAME].update_layer(
            base_layer=layer.get_base_layer(),
            lora_A=layer.lora_A[_NAME].weight,
            lora_B=layer.lora_B[_NAME].weight,
            scaling=layer.scaling[_NAME],
        )


def merged(policy: Policy) -> Any:
    """The policy's model with the adapter in its weights: a plain model again.

    Args:
        policy: A policy with an adapter; its weights are changed in place.
    """
    if policy.saved_dtype == torch.float32:
        # A small change would be rounded away in a frozen base of bfloat16, and is not in what is written.
        policy.model.float()
    return policy.adapted.merge_and_unload()


def save_adapter(policy: Policy, base: Base, folder: Path) -> None:
    """Write the adapter alone, as peft does, to `folder`.

    Args:
        policy: A policy with an adapter.
        base: The untrained model, whose name the adapter bears.
        folder: Where it goes.
    """
    settings = policy.adapted.peft_config[_NAME]
    settings.base_model_name_or_path, settings.revision = base
    # A set of names would be written in another order by each process.
    settings.target_modules = sorted(settings.target_modules)
    policy.adapted.save_pretrained(str(folder), save_embedding_layers=False)
