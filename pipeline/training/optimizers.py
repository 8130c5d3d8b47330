"""The optimiser that a run's settings name: torch's AdamW, bitsandbytes' 8-bit AdamW, transformers' Adafactor.

Bytes a trained parameter, weights, gradients and state together, with float32 weights; with bfloat16 weights, rounded
by chance; and with a float32 master copy beside those:

    adamw        16   12   16
    adamw_8bit   10    6   10    (embeddings keep float32 state: 6 more for theirs)
    adafactor     8    4    8    (and one float32 for each row and column of a matrix)
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from ..config import TrainConfig
from ..engines.quantised import quiet_bitsandbytes
from ..errors import ConfigError
from ..libraries import library
from .policy import Policy
from .rounding import RATE_FACTOR, WeightByWeight


def make_optimizer(policy: Policy, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of everything in the policy that takes a gradient.

    Args:
        policy: The model; weights that are trained in bfloat16 are rounded as `config.rounding` says.
        config: Kind of the optimiser, its rates, and the seed of what is drawn.

    Raises:
        MissingDependencyError: The optimiser's library is not installed.
        ConfigError: The weights are shared out among processes, and what is asked for takes them whole.
    """
    trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
    if config.optimizer != "adamw_8bit" and all(weight.dtype == torch.float32 for weight in trained):
        _refuse_parts(trained, config.optimizer == "adafactor")
        return _library_optimizer(config.optimizer, trained, config)
    _refuse_parts(trained, True)
    exact = _embeddings(policy.model) if config.optimizer == "adamw_8bit" else set()

    def make(weight: torch.nn.Parameter, stepped: torch.nn.Parameter) -> torch.optim.Optimizer:
        return _library_optimizer("adamw" if id(weight) in exact else config.optimizer, [stepped], config)

    return WeightByWeight(trained, make, rounding=config.rounding, rate=config.learning_rate, seed=config.seed)


def _refuse_parts(trained: Sequence[torch.Tensor], takes_whole: bool) -> None:
    if takes_whole and any(isinstance(weight, DTensor) for weight in trained):
        raise ConfigError(
            "train.optimizer: 8-bit AdamW, Adafactor and bfloat16 weights take each weight whole, and "
            "train.distributed: fsdp shares it out among processes. Set train.optimizer: adamw and train.weights: "
            "float32, or train.distributed: ddp."
        )


def _library_optimizer(kind: str, weights: Sequence[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    settings: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    groups: Any = _by_rate(weights)
    made: torch.optim.Optimizer
    if kind == "adamw_8bit":
        made = _bitsandbytes().optim.AdamW8bit(groups, **settings)
    elif kind == "adafactor":
        from transformers import Adafactor

        # As transformers' trainer sets it: the learning rate is that of the run, not a share of each weight's size.
        made = Adafactor(groups, scale_parameter=False, relative_step=False, **settings)
    else:
        # One pass over all state instead of a dozen; other kinds of device have no such kernel.
        made = torch.optim.AdamW(groups, fused=weights[0].device.type in ("cpu", "cuda"), **settings)
    return made


def _by_rate(weights: Sequence[torch.nn.Parameter]) -> Sequence[Any]:
    """The weights, or where some learn at a multiple of the run's rate, groups by that multiple."""
    factors = [float(getattr(weight, RATE_FACTOR, 1.0)) for weight in weights]
    if set(factors) == {1.0}:
        return weights
    return [
        {"params": [weight for weight, own in zip(weights, factors, strict=True) if own == factor], RATE_FACTOR: factor}
        for factor in dict.fromkeys(factors)
    ]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give an optimiser the learning rate of its next step; groups of weights with a factor get that multiple."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)


def _bitsandbytes() -> Any:
    quiet_bitsandbytes()
    return library("bitsandbytes", "train.optimizer: adamw_8bit")


def _embeddings(model: torch.nn.Module) -> set[int]:
    """Weights whose rows see gradients of very different sizes, seldom and often, by id.

    Source: Dettmers et al., 8-bit Optimizers via Block-wise Quantization (2022), section 2.3: 32-bit state for them.
    """
    return {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
