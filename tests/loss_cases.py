"""The one table of what the tests try each method with: drawn from the registry, so that a new method is tried too.

What a method's description and its hyper-parameters' types say is derived. `SPECIAL` holds what they do not: extremes
worth trying, hyper-parameters that matter only beside others, and laws that a method breaks by design. A method
without an entry keeps every law.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch

from tests.loss_inputs import pairs, unpaired
from thumbline.losses import LOSSES, PairLogps, UnpairedLogps, loss_config, loss_method
from thumbline.losses.running import MovingMoments


@dataclass(frozen=True)
class Special:
    """What is not as with most methods.

    Attributes:
        extremes: Settings to try beside another value of each hyper-parameter.
        beside: What else must be set for a hyper-parameter to change anything, by its name.
        monotone: Whether a better margin never costs more.
        pulls_both: Whether chosen is pulled up and rejected down where the policy is the reference.
        logistic: Whether its loss there is ln 2: the logistic loss of a margin that is 0.
        likelihood: Whether chosen's likelihood a token is part of the loss.
        bent_reward: Whether its reward is a curved function of what its kind names.
    """

    extremes: tuple[Mapping[str, Any], ...] = ()
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    monotone: bool = True
    pulls_both: bool = True
    logistic: bool = False
    likelihood: bool = False
    bent_reward: bool = False


SPECIAL = {
    "dpo": Special(
        ({"beta": 10.0}, {"label_smoothing": 0.3}, {"label_smoothing": 0.49, "robust": True}),
        {"robust": {"label_smoothing": 0.1}},
        logistic=True,
    ),
    "dpo_norm": Special(logistic=True),
    "f_dpo": Special(
        (
            {"divergence": "forward_kl", "beta": 10.0},
            *({"divergence": "alpha", "alpha": alpha} for alpha in (-2.0, 0.5, 1.0, 3.0)),
        ),
        {"alpha": {"divergence": "alpha"}},
        logistic=True,
        bent_reward=True,
    ),
    "rpo": Special(({"alpha": 10.0},), likelihood=True),
    "dpop": Special(({"lambda_dpop": 500.0}, {"beta": 10.0}), logistic=True),
    "chi_po": Special(
        ({"reward_bound": 0.01}, {"beta": 10.0}), {"reward_bound": {"beta": 10.0}}, logistic=True, bent_reward=True
    ),
    "beta_dpo": Special(({"alpha": 0.0}, {"beta": 10.0, "filtered": 0.9}), logistic=True),
    "ipo": Special(({"beta": 0.001},), monotone=False),
    "exo": Special(({"label_smoothing": 1e-6},), monotone=False),
    # Its pull on chosen is 0 where the policy is the reference: it lowers both sides.
    "apo_down": Special(pulls_both=False),
    "sppo": Special(({"beta": 0.001},), monotone=False),
    # Its loss rises once between two slopes, around 0, as its paper shows.
    "discopop": Special(({"tau": 1.0}, {"beta": 10.0}), monotone=False, pulls_both=False),
    "aot": Special(({"label_smoothing": 0.3},), logistic=True),
    "aot_unpaired": Special(({"label_smoothing": 0.3},), logistic=True),
    "kto": Special(({"n_desirable": 1, "n_undesirable": 1000},)),
    "bco": Special(({"beta": 10.0},)),
    "orpo": Special(({"lambda_orpo": 5.0},), likelihood=True),
    "simpo": Special(({"beta": 10.0, "gamma": 5.0},)),
    "alphapo": Special(({"alpha": 1.0}, {"alpha": -1.0}, {"alpha": 0.0}), bent_reward=True),
    "cpo": Special(({"alpha": 0.0},), likelihood=True),
}


# Of the methods that come with thumbline. A default that moves changes every run that does not set it.
DEFAULTS: dict[str, dict[str, Any]] = {
    "dpo": {"beta": 0.1, "label_smoothing": 0.0, "robust": False, "soft_labels": False},
    "dpo_norm": {"beta": 5.0, "label_smoothing": 0.0, "soft_labels": False},
    "f_dpo": {
        "beta": 0.1,
        "divergence": "jensen_shannon",
        "alpha": 0.5,
        "label_smoothing": 0.0,
        "soft_labels": False,
    },
    "rpo": {"beta": 0.1, "alpha": 1.0, "label_smoothing": 0.0, "soft_labels": False},
    "dpop": {"beta": 0.1, "lambda_dpop": 50.0, "soft_labels": False},
    "chi_po": {"beta": 0.1, "reward_bound": None, "soft_labels": False},
    "beta_dpo": {"beta": 0.1, "alpha": 0.6, "filtered": 0.2, "update_share": 0.1, "soft_labels": False},
    "ipo": {"beta": 0.1, "reading": "mean", "soft_labels": False},
    "hinge": {"beta": 0.1, "soft_labels": False},
    "exo": {"beta": 0.1, "label_smoothing": 0.001, "soft_labels": False},
    "nca": {"beta": 0.1, "soft_labels": False},
    "apo_zero": {"beta": 0.1, "soft_labels": False},
    "apo_down": {"beta": 0.1, "soft_labels": False},
    "sppo": {"beta": 0.1, "soft_labels": False},
    "bco_pair": {"beta": 0.1, "shift": "zero", "soft_labels": False},
    "discopop": {"beta": 0.1, "tau": 0.05, "soft_labels": False},
    "aot": {"beta": 0.1, "label_smoothing": 0.0},
    "aot_unpaired": {"beta": 0.1, "label_smoothing": 0.0},
    "kto": {
        "beta": 0.1,
        "reference_point": "mismatched",
        "desirable_weight": None,
        "undesirable_weight": None,
        "reduction": "rows",
        "soft_labels": False,
        "n_desirable": 1,
        "n_undesirable": 1,
        "reference_point_over": "step",
    },
    "bco": {"beta": 0.1, "soft_labels": False, "shift": "batch", "reference_point_over": "step"},
    "sft": {"nll": "mean"},
    "orpo": {"lambda_orpo": 0.1, "nll_over": "chosen", "soft_labels": False},
    "simpo": {"beta": 2.0, "gamma": 0.5, "gamma_unit": "reward", "label_smoothing": 0.0, "soft_labels": False},
    "alphapo": {"beta": 2.5, "gamma": 0.25, "alpha": 0.25, "soft_labels": False},
    "cpo": {"beta": 0.1, "alpha": 1.0, "label_smoothing": 0.0, "soft_labels": False},
}


def special(name: str) -> Special:
    return SPECIAL.get(name, Special())


PAIRED = [name for name, spec in LOSSES.items() if spec.paired]
UNPAIRED = [name for name, spec in LOSSES.items() if not spec.paired]
# Those of which each row has a loss of its own.
BY_ROW = [name for name in LOSSES if not loss_method(name, {}).takes_whole_steps]
WITH_REFERENCE = [name for name in PAIRED if LOSSES[name].needs_reference]
UNPAIRED_WITH_REFERENCE = [name for name in UNPAIRED if LOSSES[name].needs_reference]
PER_TOKEN = [name for name in PAIRED if loss_method(name, {}).per_token]
LIKELIHOOD = [name for name in PAIRED if special(name).likelihood]


def fields_of(name: str) -> dict[str, Any]:
    """A method's hyper-parameters and their defaults."""
    return {entry.name: entry.default for entry in dataclasses.fields(LOSSES[name].config)}


def with_field(hyper_parameter: str) -> list[str]:
    """The methods that have a hyper-parameter of this name."""
    return [name for name in LOSSES if hyper_parameter in fields_of(name)]


def choices(name: str) -> dict[str, tuple[str, ...]]:
    """A method's hyper-parameters with a few named values, and these."""
    hints = get_type_hints(LOSSES[name].config)
    return {key: get_args(hint) for key, hint in hints.items() if get_origin(hint) is Literal}


def other_value(name: str, key: str) -> Any:
    """Another value of a hyper-parameter than its default."""
    default = fields_of(name)[key]
    if key in choices(name):
        return next(value for value in choices(name)[key] if value != default)
    if isinstance(default, bool):
        return not default
    if default is None:
        return 2.0
    return 5 * default if isinstance(default, int) else default * 2 or 0.1


# What says over which rows whoever trains takes a value: the loss of a batch is not changed by it, training is
# (tests/unit/training/test_step_statistic.py).
_FOR_TRAINING = ("reference_point_over",)
CHANGES = [(name, key) for name in LOSSES for key in fields_of(name) if key not in _FOR_TRAINING]


def change(name: str, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings before and after a hyper-parameter takes another value that must show."""
    beside = dict(special(name).beside.get(key, {}))
    return beside, beside | {key: other_value(name, key)}


def settings_of(name: str) -> list[dict[str, Any]]:
    """Settings that a method is tried with: its defaults, another value of each hyper-parameter, and extremes."""
    named = [{key: value} for key, values in choices(name).items() for value in values]
    changed = [change(name, key)[1] for key in fields_of(name) if key not in choices(name)]
    # The prompt's likelihood is one more tensor, which most batches of the tests do not hold.
    tried = [{}, *named, *changed, *map(dict, special(name).extremes)]
    return [settings for settings in tried if not loss_method(name, settings).needs_prompt_nll]


SETTINGS = [(name, settings) for name in LOSSES for settings in settings_of(name)]


def full_batch(name: str, rows: int = 8) -> PairLogps | UnpairedLogps:
    """A batch of the method's kind with everything that any method takes, weights among it where it takes them."""
    generator = torch.Generator().manual_seed(1)

    def draw(low: float, high: float) -> torch.Tensor:
        return torch.empty(rows, dtype=torch.float64).uniform_(low, high, generator=generator)

    weights = draw(0.5, 2) if LOSSES[name].takes_weights else None
    if LOSSES[name].paired:
        return pairs(
            rows,
            grad=False,
            chosen_better_probability=draw(0, 1),
            weights=weights,
            prompt_chosen_nll=draw(0.5, 3),
            row_draws=draw(0, 1),
            seen_margins=MovingMoments(0.3, 0.8),
        )
    labels = tuple(row % 3 == 0 for row in range(rows))
    return unpaired(labels, grad=False, desirable_probability=draw(0, 1), weights=weights)


def tensors(found: Any) -> dict[str, torch.Tensor]:
    """What a method gives that is a tensor, by name."""
    return {name: value for name, value in vars(found).items() if isinstance(value, torch.Tensor)}


def run(name: str, batch: PairLogps | UnpairedLogps, **settings: Any) -> Any:
    """What the method gives for a batch."""
    return LOSSES[name].function(batch, loss_config(name, settings))
