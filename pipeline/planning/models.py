"""A model from its config alone: no weights are read, and all or a few of its layers lie on the meta device."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from ..config import RunConfig, TrainConfig
from ..engines.head import with_own_attention
from ..engines.loading import loading
from ..engines.models import DEMO_MODEL, resolve_model
from ..errors import ConfigError, EngineError, InputError
from ..training.adapters import with_adapter
from ..training.attention.interface import use_segments
from ..training.dropout import without_dropout
from ..training.policy import Policy, policy_of

_CONFIG: Final = "config.json"


def model_config(config: RunConfig) -> Any:
    """The config of a run's model: of a folder with a config.json at least, of a hub model, or of the demo model.

    Raises:
        InputError: There is none, or transformers knows no causal language model of its kind.
    """
    from transformers import AutoConfig

    folder = _config_folder(config.model, config.revision)
    with loading(f"model: transformers cannot read {folder / _CONFIG}", InputError):
        found = with_own_attention(without_dropout(AutoConfig.from_pretrained(folder)))
    dtype = getattr(found, "dtype", None)
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise InputError(f"model: {folder / _CONFIG}: dtype is {dtype!r}, which is no type of weights.")
    return found


def _config_folder(model: str, revision: str | None) -> Path:
    if model == DEMO_MODEL or Path(model).is_dir():
        return resolve_model(model, revision)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model, _CONFIG, revision=revision)).parent
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"model: '{model}' is no folder here, and its config.json could not be had from the hub: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__} A folder with a "
            f"config.json alone will do for a plan."
        ) from error


def with_layers(config: Any, layers: int) -> Any:
    """The config with its first `layers` layers alone.

    Args:
        config: A transformers config.
        layers: At least 1.
    """
    shorter = copy.deepcopy(config)
    text = shorter.get_text_config()
    whole = text.num_hidden_layers
    for name, value in vars(text).items():
        if isinstance(value, list) and len(value) == whole:
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers
    return shorter


def meta_policy(config: Any, train: TrainConfig) -> Policy:
    """`bare_policy` in the layout in which it is trained.

    Raises:
        InputError: As `bare_policy`.
        ConfigError: The adapter or the layout does not fit the model.
    """
    return laid_out(bare_policy(config, train), train)


def bare_policy(config: Any, train: TrainConfig) -> Policy:
    """A policy as training has it before its first step, on the meta device; 4-bit weights are bfloat16 ones here.

    It has its own attention still.

    Args:
        config: The model's.
        train: Adapter, types and gradient checkpointing.

    Raises:
        InputError: transformers knows no causal language model of this config.
        ConfigError: The adapter does not fit the model.
    """
    from transformers import AutoModelForCausalLM

    held = torch.float32 if train.weights == "float32" else torch.bfloat16
    saved = getattr(config, "dtype", None) or torch.float32
    with loading("model: transformers knows no causal language model of this config", InputError), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(copy.deepcopy(config), dtype=held)
    policy = policy_of(
        model,
        torch.device("cpu"),
        saved,
        dtype=train.dtype,
        gradient_checkpointing=train.gradient_checkpointing,
        hollow=True,
    )
    return policy if train.adapter == "none" else with_adapter(policy, train)


def laid_out(policy: Policy, train: TrainConfig) -> Policy:
    """The policy in the layout that is asked for; `auto` is taken to find that the last of them can be used.

    Args:
        policy: With its own attention.
        train: The layout.

    Raises:
        ConfigError: The model cannot be trained in it.
    """
    if train.layout == "padded":
        return policy
    try:
        use_segments(policy.model)
    except EngineError as error:
        if train.layout == "auto":
            return policy
        raise ConfigError(f"train.layout: {error}. Set it to padded.") from error
    return replace(policy, layout="shared" if train.layout == "auto" else train.layout)
