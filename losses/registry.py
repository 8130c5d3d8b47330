"""Every method by name: what it needs, what it costs, and when to use it."""

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .alphapo import AlphaPOConfig, alphapo
from .aot import AOTConfig, aot, aot_unpaired
from .apo_down import APODownConfig, apo_down
from .apo_zero import APOZeroConfig, apo_zero
from .bco import BCOConfig, BCOPairConfig, bco, bco_pair, bco_reference_point
from .beta_dpo import BetaDPOConfig, beta_dpo
from .chi_po import ChiPOConfig, chi_po
from .cpo import CPOConfig, cpo
from .discopop import DiscoPOPConfig, discopop
from .dpo import DPOConfig, dpo
from .dpo_norm import DPONormConfig, dpo_norm
from .dpop import DPOPConfig, dpop
from .exo import EXOConfig, exo
from .f_dpo import FDPOConfig, f_dpo
from .hinge import HingeConfig, hinge
from .ipo import IPOConfig, ipo
from .kto import KTOConfig, kto, kto_reference_point
from .nca import NCAConfig, nca
from .orpo import ORPOConfig, orpo
from .ppo import PPOConfig, ppo, ppo_credit
from .rloo import RLOOConfig, rloo, rloo_credit
from .rpo import RPOConfig, rpo
from .sft import SFTConfig, sft
from .simpo import SimPOConfig, simpo
from .spec import ClassCounts, LossSpec, Method, RolloutSpec
from .sppo import SPPOConfig, sppo

if TYPE_CHECKING:
    from thumbline.plugins import Plugins


LOSSES: Final[dict[str, LossSpec]] = {
    "dpo": LossSpec("DPO", dpo, DPOConfig, True, True, "Pairs, and a good starting model. The default."),
    "dpo_norm": LossSpec(
        "Length-normalised DPO",
        dpo_norm,
        DPONormConfig,
        True,
        True,
        "Pairs; DPO's answers grow too long.",
        per_token=True,
    ),
    "f_dpo": LossSpec("f-DPO", f_dpo, FDPOConfig, True, True, "Pairs; DPO loses variety (Jensen-Shannon, forward KL)."),
    "rpo": LossSpec("RPO", rpo, RPOConfig, True, True, "Pairs; DPO makes chosen answers less likely too."),
    "dpop": LossSpec(
        "DPOP", dpop, DPOPConfig, True, True, "Pairs of answers that differ little; chosen should not fall."
    ),
    "chi_po": LossSpec("chi-PO", chi_po, ChiPOConfig, True, True, "Pairs that cover little; DPO goes beyond the data."),
    "beta_dpo": LossSpec(
        "beta-DPO",
        beta_dpo,
        BetaDPOConfig,
        True,
        True,
        "Pairs of mixed quality, in large batches; no one beta suits all.",
        by_batch=True,
        statistic_runs=True,
    ),
    "ipo": LossSpec(
        "IPO",
        ipo,
        IPOConfig,
        True,
        True,
        "Pairs whose labels are nearly certain; DPO overfits them.",
        per_token=lambda config: bool(config.reading == "mean"),
    ),
    "hinge": LossSpec("Hinge (SLiC)", hinge, HingeConfig, True, True, "Pairs; easy ones should stop pulling."),
    "exo": LossSpec("EXO", exo, EXOConfig, True, True, "Pairs with many confident labels: seeks the mode, as RL does."),
    "nca": LossSpec("NCA", nca, NCAConfig, True, True, "Pairs; chosen's likelihood should not fall."),
    "apo_zero": LossSpec("APO-zero", apo_zero, APOZeroConfig, True, True, "Pairs; chosen is better than the model."),
    "apo_down": LossSpec("APO-down", apo_down, APODownConfig, True, True, "Pairs; chosen is worse than the model."),
    "sppo": LossSpec("SPPO", sppo, SPPOConfig, True, True, "Pairs of the model's own answers, in rounds."),
    "bco_pair": LossSpec(
        "BCO on pairs",
        bco_pair,
        BCOPairConfig,
        True,
        True,
        "Pairs; each side judged by itself.",
        by_batch=lambda config: bool(config.shift == "batch"),
    ),
    "discopop": LossSpec("DiscoPOP", discopop, DiscoPOPConfig, True, True, "Pairs; near-ties should count most."),
    "aot": LossSpec(
        "AOT",
        aot,
        AOTConfig,
        True,
        True,
        "Pairs in large batches; the margins' distribution matters.",
        by_batch=True,
        takes_weights=False,
    ),
    "aot_unpaired": LossSpec(
        "AOT unpaired",
        aot_unpaired,
        AOTConfig,
        True,
        True,
        "Good and bad answers to other prompts.",
        by_batch=True,
        takes_weights=False,
    ),
    "kto": LossSpec(
        "KTO",
        kto,
        KTOConfig,
        False,
        True,
        "Single thumbs: no second answer to the same prompt.",
        step_statistic=kto_reference_point,
        statistic_of_parts=lambda config: bool(
            config.reference_point == "zero" or config.reference_point_over == "micro_batch"
        ),
        by_batch=lambda config: bool(config.reduction == "classes"),
        needs_mismatched=lambda config: bool(config.reference_point == "mismatched"),
        class_counts=ClassCounts("n_desirable", "n_undesirable"),
    ),
    "bco": LossSpec(
        "BCO",
        bco,
        BCOConfig,
        False,
        True,
        "Single thumbs; KTO lets badly wrong rows go.",
        step_statistic=bco_reference_point,
        statistic_of_parts=lambda config: bool(config.reference_point_over == "micro_batch"),
        statistic_runs=lambda config: bool(config.shift == "running"),
    ),
    "sft": LossSpec(
        "SFT",
        sft,
        SFTConfig,
        False,
        False,
        "Answers that were liked, likelihood alone: the baseline, and what comes before RLHF.",
        per_token=lambda config: bool(config.nll == "mean"),
        reward_scale=None,
        liked_only=True,
    ),
    "orpo": LossSpec(
        "ORPO",
        orpo,
        ORPOConfig,
        True,
        False,
        "Pairs, straight from a base model: no separate SFT.",
        per_token=True,
        reward_scale="lambda_orpo",
        needs_prompt_nll=lambda config: bool(config.nll_over == "prompt_and_chosen"),
    ),
    "simpo": LossSpec(
        "SimPO", simpo, SimPOConfig, True, False, "Pairs; length should not pay, no reference at hand.", per_token=True
    ),
    "alphapo": LossSpec(
        "AlphaPO", alphapo, AlphaPOConfig, True, False, "Pairs; SimPO pushes likelihoods too far.", per_token=True
    ),
    "cpo": LossSpec("CPO", cpo, CPOConfig, True, False, "Pairs whose chosen side is worth imitating too."),
}

# Methods on answers that the policy writes while it trains: the same questions, other tensors.
ROLLOUTS: Final[dict[str, RolloutSpec]] = {
    "ppo": RolloutSpec(
        "PPO",
        ppo,
        PPOConfig,
        False,
        True,
        "Prompts and a thumbs model: RLHF, as the baseline.",
        reward_scale="kl_coefficient",
        takes_weights=False,
        credit=ppo_credit,
        has_values=True,
    ),
    "rloo": RolloutSpec(
        "RLOO",
        rloo,
        RLOOConfig,
        False,
        True,
        "Prompts and a thumbs model; lighter than PPO: no value head.",
        reward_scale="kl_coefficient",
        takes_weights=False,
        credit=rloo_credit,
        mean_over="answers",
        least_samples=2,
    ),
}
_KNOWN: Final[dict[str, LossSpec]] = {**LOSSES, **ROLLOUTS}


def loss_spec(name: str) -> LossSpec:
    """The method called `name`: one of `LOSSES` or `ROLLOUTS`, or one that an installed package adds.

    Raises:
        ValueError: There is none, and the message names the nearest and lists all; or its package is broken.
    """
    plugins = _plugins()
    added = None if plugins is None else plugins.get(name)
    if added is not None:
        return added
    if name not in _KNOWN:
        raise ValueError(_unknown("method", name, method_names()))
    return _KNOWN[name]


def method_names() -> list[str]:
    """Names of all methods, those of other packages last; nothing of theirs is loaded."""
    plugins = _plugins()
    added = () if plugins is None else plugins.names()
    return list(dict.fromkeys((*_KNOWN, *added)))


@functools.cache
def _plugins() -> "Plugins[LossSpec] | None":
    """Methods that other packages add; None where this folder was copied without the rest of thumbline."""
    try:
        from thumbline.plugins import Plugins
    except ModuleNotFoundError:
        return None
    return Plugins("thumbline.losses", LossSpec, _KNOWN)


def loss_config(name: str, settings: Mapping[str, Any]) -> Any:
    """The method's hyper-parameters with `settings` in place of their defaults.

    Raises:
        ValueError: The method or a hyper-parameter is unknown, or a value is out of range.
        TypeError: A value is no number where one is needed.
    """
    config = loss_spec(name).config
    known = {field.name: field for field in dataclasses.fields(config)}
    for key, value in settings.items():
        if key not in known:
            raise ValueError(f"{name}: {_unknown('hyper-parameter', key, list(known))}")
        # To Python it is the number 0 or 1.
        if isinstance(value, bool) and known[key].type in (int, float):
            raise TypeError(f"{name}: {key} has to be a number, not {value}.")
    try:
        return config(**settings)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{name}: {error}") from error


def loss_method(name: str, settings: Mapping[str, Any]) -> Method:
    """The method called `name` with `settings` in place of its defaults.

    Raises:
        ValueError: The method or a hyper-parameter is unknown, or a value is out of range.
        TypeError: A value is no number where one is needed.
    """
    return Method(name, loss_spec(name), loss_config(name, settings))


def describe() -> list[dict[str, str]]:
    """One row a method, as `thumbline losses` prints them; where other packages add some, with the package of each.

    A package that is broken takes its own row only, which says why.
    """
    plugins = _plugins()
    rows = [_described(name, spec) for name, spec in _KNOWN.items()]
    if plugins is None or not plugins.names():
        return rows
    for name in plugins.names():
        try:
            rows.append(_described(name, loss_spec(name)))
        except ValueError as error:
            rows.append(dict.fromkeys(rows[0], "") | {"method": name, "use it for": str(error)})
    own = [*(["thumbline"] * len(_KNOWN)), *map(plugins.origin, plugins.names())]
    return [row | {"from": origin} for row, origin in zip(rows, own, strict=True)]


def _described(name: str, spec: LossSpec) -> dict[str, str]:
    return {
        "method": name,
        "title": spec.title,
        "data": spec.data,
        "reference": "log-probs" if spec.needs_reference else "none",
        "weights held": spec.weights_held,
        "hyper-parameters": ", ".join(f"{field.name}={field.default}" for field in dataclasses.fields(spec.config)),
        "use it for": spec.when,
    }


def _unknown(kind: str, name: str, known: list[str]) -> str:
    # Letters that changed places (dop) are nearer than a letter more (dpop).
    swapped = [one for one in known if sorted(one) == sorted(name)]
    nearest = swapped or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"unknown {kind} '{name}'.{hint} Known: {', '.join(sorted(known))}."
