"""Preference losses as pure functions of log-probs: import them into any training loop.

    from thumbline.losses import dpo_loss
    loss, metrics = dpo_loss(policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta=0.1)

Each method has such a function. `thumbline.losses.LOSSES` holds every method with its hyper-parameters;
`thumbline.losses.logps` gives the log-probs.
"""

from thumbline.extras import is_installed, missing

if not is_installed("torch"):  # which each module below imports
    raise missing("torch", "thumbline.losses")

from .combine import Term, combined
from .kto import kto_loss
from .orpo import orpo_loss
from .plain import (
    alphapo_loss,
    aot_loss,
    aot_unpaired_loss,
    apo_down_loss,
    apo_zero_loss,
    bco_loss,
    bco_pair_loss,
    beta_dpo_loss,
    chi_po_loss,
    cpo_loss,
    discopop_loss,
    dpo_loss,
    dpo_norm_loss,
    dpop_loss,
    exo_loss,
    f_dpo_loss,
    hinge_loss,
    ipo_loss,
    nca_loss,
    pair_loss,
    rpo_loss,
    sft_loss,
    simpo_loss,
    sppo_loss,
    unpaired_loss,
)
from .registry import LOSSES, ROLLOUTS, loss_config, loss_method, loss_spec
from .reward_bce import reward_bce_loss
from .reward_model import reward_model_loss
from .rollouts import Credit, RolloutBatch, RolloutLossOutput, Rollouts
from .spec import LossSpec, Method, RolloutSpec
from .types import MissingInputError, PairLogps, PairLossOutput, UnpairedLogps, UnpairedLossOutput

__all__ = [
    "LOSSES",
    "ROLLOUTS",
    "Credit",
    "LossSpec",
    "Method",
    "MissingInputError",
    "PairLogps",
    "PairLossOutput",
    "RolloutBatch",
    "RolloutLossOutput",
    "RolloutSpec",
    "Rollouts",
    "Term",
    "UnpairedLogps",
    "UnpairedLossOutput",
    "alphapo_loss",
    "aot_loss",
    "aot_unpaired_loss",
    "apo_down_loss",
    "apo_zero_loss",
    "bco_loss",
    "bco_pair_loss",
    "beta_dpo_loss",
    "chi_po_loss",
    "combined",
    "cpo_loss",
    "discopop_loss",
    "dpo_loss",
    "dpo_norm_loss",
    "dpop_loss",
    "exo_loss",
    "f_dpo_loss",
    "hinge_loss",
    "ipo_loss",
    "kto_loss",
    "loss_config",
    "loss_method",
    "loss_spec",
    "nca_loss",
    "orpo_loss",
    "pair_loss",
    "reward_bce_loss",
    "reward_model_loss",
    "rpo_loss",
    "sft_loss",
    "simpo_loss",
    "sppo_loss",
    "unpaired_loss",
]
