"""Preference losses as pure functions of log-probs: import them into any training loop.

    from thumbline.losses import dpo_loss
    loss, metrics = dpo_loss(policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta=0.1)

`thumbline.losses.LOSSES` holds every method with its hyper-parameters; `thumbline.losses.logps` gives the log-probs.
"""

from .combine import Term, combined
from .dpo import dpo_loss
from .kto import kto_loss
from .orpo import orpo_loss
from .registry import LOSSES, loss_config, loss_method, loss_spec
from .reward_bce import reward_bce_loss
from .reward_model import reward_model_loss
from .spec import LossSpec, Method
from .types import MissingInputError, PairLogps, PairLossOutput, UnpairedLogps, UnpairedLossOutput

__all__ = [
    "LOSSES",
    "LossSpec",
    "Method",
    "MissingInputError",
    "PairLogps",
    "PairLossOutput",
    "Term",
    "UnpairedLogps",
    "UnpairedLossOutput",
    "combined",
    "dpo_loss",
    "kto_loss",
    "loss_config",
    "loss_method",
    "loss_spec",
    "orpo_loss",
    "reward_bce_loss",
    "reward_model_loss",
]
