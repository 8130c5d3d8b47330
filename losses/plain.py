"""Each method as a function of plain tensors: the mean loss and a batch's metrics, with one signature for all.

    loss, metrics = rpo_loss(policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta=0.1)

`kto_loss` and `orpo_loss`, which tutorials call in another way, lie beside their methods; with this signature they are
`unpaired_loss("kto", ...)` and `pair_loss("orpo", ...)`.
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from .registry import LOSSES, loss_method
from .running import MovingMoments
from .spec import Method
from .types import PairLogps, PairLossOutput, UnpairedLogps, UnpairedLossOutput, as_labels, as_tensor

Numbers: TypeAlias = torch.Tensor | Sequence[float]
LossAndMetrics: TypeAlias = tuple[torch.Tensor, dict[str, torch.Tensor]]


def pair_loss(
    method: str,
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers | None = None,
    ref_rejected_logps: Numbers | None = None,
    *,
    chosen_token_counts: Numbers | None = None,
    rejected_token_counts: Numbers | None = None,
    chosen_better_probability: Numbers | None = None,
    weights: Numbers | None = None,
    prompt_chosen_nll: Numbers | None = None,
    row_draws: Numbers | None = None,
    seen_margins: MovingMoments | None = None,
    **settings: Any,
) -> LossAndMetrics:
    """The mean loss of a method on pairs: () nats, carries the gradient; and metrics without one.

    Metrics: `chosen_reward`, `rejected_reward`, `reward_margin` (means) and `accuracy`, in which a tie counts half.

    Args:
        method: A name of `LOSSES` that takes pairs, or one that a package adds.
        policy_chosen_logps: (batch,) nats, summed over the completion; carries the gradient.
        policy_rejected_logps: (batch,) nats, summed; carries the gradient.
        ref_chosen_logps: (batch,) nats, summed, under the reference; methods without one leave it alone.
        ref_rejected_logps: (batch,) nats, summed, under the reference.
        chosen_token_counts: (batch,) tokens; needed by methods that use means.
        rejected_token_counts: (batch,) tokens.
        chosen_better_probability: (batch,) in [0, 1], soft labels; read with `soft_labels=True`.
        weights: (batch,) factor on each row's loss; the mean is over rows.
        prompt_chosen_nll: (batch,) nats a token, for ORPO with `nll_over="prompt_and_chosen"`.
        row_draws: (batch,) uniform in (0, 1), by which beta-DPO leaves out pairs; None leaves out none.
        seen_margins: Margins of the batches before, for beta-DPO; None for none.
        settings: The method's hyper-parameters, where they are not the defaults.

    Raises:
        ValueError: The method or a hyper-parameter is unknown or out of range, the method takes unpaired rows, there is
            no row, or shapes differ.
        MissingInputError: A tensor that the method needs is not given.
    """
    found = _method(method, settings, paired=True)
    batch = PairLogps(
        policy_chosen_logps=as_tensor(policy_chosen_logps),
        policy_rejected_logps=as_tensor(policy_rejected_logps),
        reference_chosen_logps=_given(ref_chosen_logps),
        reference_rejected_logps=_given(ref_rejected_logps),
        chosen_token_counts=_given(chosen_token_counts),
        rejected_token_counts=_given(rejected_token_counts),
        chosen_better_probability=_given(chosen_better_probability),
        weights=_given(weights),
        prompt_chosen_nll=_given(prompt_chosen_nll),
        row_draws=_given(row_draws),
        seen_margins=seen_margins,
    )
    output: PairLossOutput = found.spec.function(batch, found.config)
    margins = output.chosen_rewards - output.rejected_rewards
    return _mean(output.losses, method), {
        "chosen_reward": output.chosen_rewards.mean(),
        "rejected_reward": output.rejected_rewards.mean(),
        "reward_margin": margins.mean(),
        "accuracy": _wins(margins),
    }


def unpaired_loss(
    method: str,
    policy_logps: Numbers,
    labels: torch.Tensor | Sequence[bool],
    ref_logps: Numbers | None = None,
    *,
    policy_mismatched_logps: Numbers | None = None,
    ref_mismatched_logps: Numbers | None = None,
    z0: torch.Tensor | float | None = None,
    desirable_probability: Numbers | None = None,
    weights: Numbers | None = None,
    token_counts: Numbers | None = None,
    **settings: Any,
) -> LossAndMetrics:
    """The mean loss of a method on labelled completions: () nats, carries the gradient; and metrics without one.

    Metrics: `reference_point` (nats), `accuracy` (the share on their label's side of it, a tie counts half),
    `desirable_reward` and `undesirable_reward` (means; absent for a class without rows), and of both `reward_margin`.

    Args:
        method: A name of `LOSSES` that takes unpaired rows, or one that a package adds.
        policy_logps: (batch,) nats, summed over the completion; carries the gradient.
        labels: (batch,) bool, True for desirable.
        ref_logps: (batch,) nats, summed, under the reference.
        policy_mismatched_logps: (rows,) nats, summed: completions of other prompts, for KTO's reference point.
        ref_mismatched_logps: (rows,) nats, summed, under the reference.
        z0: () nats, the reference point where it was taken over more rows than these; None: of these.
        desirable_probability: (batch,) in [0, 1], soft labels; read with `soft_labels=True`.
        weights: (batch,) factor on each row's loss; the mean is over rows.
        token_counts: (batch,) tokens; needed by methods that use means.
        settings: The method's hyper-parameters, where they are not the defaults.

    Raises:
        ValueError: The method or a hyper-parameter is unknown or out of range, the method takes pairs, there is no row,
            labels are no bool, or shapes differ.
        MissingInputError: A tensor that the method needs is not given.
    """
    found = _method(method, settings, paired=False)
    policy = as_tensor(policy_logps)
    batch = UnpairedLogps(
        policy_logps=policy,
        labels=as_labels(labels),
        reference_logps=_given(ref_logps),
        policy_mismatched_logps=_given(policy_mismatched_logps),
        reference_mismatched_logps=_given(ref_mismatched_logps),
        reference_point=None if z0 is None else torch.as_tensor(z0, dtype=policy.dtype, device=policy.device),
        weights=_given(weights),
        desirable_probability=_given(desirable_probability),
        token_counts=_given(token_counts),
    )
    output: UnpairedLossOutput = found.spec.function(batch, found.config)
    ahead = output.rewards - found.reward_scale * output.reference_point
    classes = {"desirable_reward": output.rewards[batch.labels], "undesirable_reward": output.rewards[~batch.labels]}
    metrics = {name: part.mean() for name, part in classes.items() if part.numel()}
    if len(metrics) == len(classes):
        metrics["reward_margin"] = metrics["desirable_reward"] - metrics["undesirable_reward"]
    accuracy = _wins(torch.where(batch.labels, ahead, -ahead))
    return _mean(output.losses, method), metrics | {"accuracy": accuracy, "reference_point": output.reference_point}


def _method(name: str, settings: dict[str, Any], *, paired: bool) -> Method:
    found = loss_method(name, settings)
    if found.spec.paired != paired:
        called = "unpaired_loss" if paired else "pair_loss"
        raise ValueError(f"'{name}' takes {found.spec.rows}; call {called}.")
    return found


def _given(values: Numbers | None) -> torch.Tensor | None:
    return None if values is None else as_tensor(values)


def _mean(losses: torch.Tensor, method: str) -> torch.Tensor:
    if losses.numel() == 0:
        raise ValueError(f"{method}: there is no row to take the mean of; give at least one.")
    return losses.mean()


def _wins(margins: torch.Tensor) -> torch.Tensor:
    return ((margins > 0).float() + 0.5 * (margins == 0).float()).mean()


def _named(method: str) -> Callable[..., LossAndMetrics]:
    """`pair_loss` or `unpaired_loss` of one method, whose signature names its hyper-parameters."""
    spec = LOSSES[method]
    general: Callable[..., LossAndMetrics] = pair_loss if spec.paired else unpaired_loss

    def loss(*logps: Any, **more: Any) -> LossAndMetrics:
        return general(method, *logps, **more)

    _, *taken, _ = inspect.signature(general).parameters.values()
    fields = dataclasses.fields(spec.config)
    own = [inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default) for field in fields]
    loss.__name__ = loss.__qualname__ = f"{method}_loss"
    loss.__signature__ = inspect.Signature([*taken, *own])  # type: ignore[attr-defined]
    loss.__doc__ = (
        f"{spec.title}: the mean loss and metrics of a batch, as `{general.__name__}` gives them.\n\n"
        f"Hyper-parameters:{inspect.cleandoc(spec.config.__doc__ or '').partition('Attributes:')[2]}"
    )
    return loss


def dpo_loss(
    policy_chosen_logps: Numbers,
    policy_rejected_logps: Numbers,
    ref_chosen_logps: Numbers,
    ref_rejected_logps: Numbers,
    beta: float = 0.1,
    **more: Any,
) -> LossAndMetrics:
    """DPO on plain tensors, as `pair_loss` gives it: the mean loss, and `reward_margin`, `accuracy` and others.

    Args:
        policy_chosen_logps: (batch,) nats, summed over the completion.
        policy_rejected_logps: (batch,) nats, summed.
        ref_chosen_logps: (batch,) nats, summed, under the reference.
        ref_rejected_logps: (batch,) nats, summed, under the reference.
        beta: Higher keeps the policy nearer the reference.
        more: What `pair_loss` takes by name, and DPO's other hyper-parameters.

    Raises:
        ValueError: Shapes differ, there is no row, or a hyper-parameter does not hold.
    """
    return pair_loss(
        "dpo", policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta=beta, **more
    )


dpo_norm_loss = _named("dpo_norm")
f_dpo_loss = _named("f_dpo")
rpo_loss = _named("rpo")
dpop_loss = _named("dpop")
chi_po_loss = _named("chi_po")
beta_dpo_loss = _named("beta_dpo")
ipo_loss = _named("ipo")
hinge_loss = _named("hinge")
exo_loss = _named("exo")
nca_loss = _named("nca")
apo_zero_loss = _named("apo_zero")
apo_down_loss = _named("apo_down")
sppo_loss = _named("sppo")
bco_pair_loss = _named("bco_pair")
discopop_loss = _named("discopop")
aot_loss = _named("aot")
aot_unpaired_loss = _named("aot_unpaired")
sft_loss = _named("sft")
bco_loss = _named("bco")
simpo_loss = _named("simpo")
alphapo_loss = _named("alphapo")
cpo_loss = _named("cpo")
