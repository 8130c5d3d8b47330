"""Which layout a model can be trained in: a few random sequences in each, against the same ones padded.

A layer that mixes tokens in another way than by attention (a state space, a convolution), a mask that segments do not
know, or a position that is counted from the row's first token makes other log-probs, and no error. So nothing is taken
on trust: a layout whose log-probs or gradient differ is not used, and that is said.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch

from ..errors import ConfigError, EngineError
from .attention.interface import use_segments
from .layouts import Layout
from .parallel.team import ALONE, Team
from .parallel.wrapping import is_part, is_shared_out
from .policy import Policy
from .probe_sample import Computed, Difference, Sample, compute, random_sample

# Float32 rounding stays below this: `tests/unit/training/test_architectures.py` holds models to a tenth of it.
_FLOOR: Final = Difference(1e-4, 1e-3)
# Rounding in half precision is measured: padded sequences against the same ones in float32; where weights are not
# float32, and in some devices' products of float32, each alone against all of them.
_NOISE: Final = 4.0
# However noisy padding is, a difference above this is none of rounding: in float32, and in other types.
_MOST: Final = {True: Difference(1e-3, 1e-2), False: Difference(0.5, 0.5)}
# While the sample is computed windows are made this small, so that it is longer.
_WINDOW: Final = 8
_WINDOWS: Final = ("sliding_window", "attention_chunk_size")
_WHAT_A_MODEL_MAY_RAISE: Final = (
    EngineError,
    TypeError,
    ValueError,
    RuntimeError,
    LookupError,
    AttributeError,
    AssertionError,
)


class Finding(NamedTuple):
    """What the probe found of a layout.

    Attributes:
        layout: Its name.
        dtype: The type of the forward pass: float32 where weights are, and that of training.
        difference: From padded; None where the model raised an error.
        allowed: What it may be; None likewise.
        error: What the model raised; None where it did not.
    """

    layout: Layout
    dtype: str
    difference: Difference | None
    allowed: Difference | None
    error: str | None = None

    @property
    def fits(self) -> bool:
        """Whether the layout gives what padding gives."""
        if self.difference is None or self.allowed is None:
            return False
        return all(value <= limit for value, limit in zip(self.difference, self.allowed, strict=True))

    def in_words(self) -> str:
        """How the layout compares with padding."""
        if self.difference is None or self.allowed is None:
            return str(self.error)
        return (
            f"{self.layout} in {self.dtype}: log-probs differ by {self.difference.logps:.2g} nats a token, at most "
            f"{self.allowed.logps:.2g} is allowed, and the gradient by {self.difference.gradient:.2g} of its norm, at "
            f"most {self.allowed.gradient:.2g}"
        )


class Choice(NamedTuple):
    """The layout that is used.

    Attributes:
        policy: The policy that uses it.
        findings: What was found of each that was tried.
    """

    policy: Policy
    findings: tuple[Finding, ...]

    def refusal(self) -> str | None:
        """One line that says which layouts the model cannot be trained in, and why; None where there are none."""
        if all(finding.fits for finding in self.findings):
            return None
        return (
            f"train: {type(self.policy.model).__name__} is trained {self.policy.layout}, since another layout gives "
            f"other numbers ({_wrong(self.findings)})"
        )

    def notes(self) -> dict[str, Any]:
        """What is kept of it: figures that are rounding alone, of a layout that fits, are not."""
        refusal = self.refusal()
        return {"used": self.policy.layout} | ({} if refusal is None else {"refused": _wrong(self.findings)})


def with_layout(policy: Policy, asked: Literal["auto", "padded", "packed", "shared"], team: Team = ALONE) -> Choice:
    """The policy in the layout that was asked for, after a comparison with padding on a few random sequences.

    Args:
        policy: The model before its first step, adapter included; its weights get no gradient.
        asked: `auto` takes the first of shared, packed and padded that gives what padding gives.
        team: The processes that train; each calls this, and all take what the first one finds: at a limit, rounding
            could divide them, and they would cut their steps in other parts.

    Raises:
        ConfigError: `packed` or `shared` was asked for, and gives something else.
    """
    ways: dict[str, tuple[Layout, ...]] = {"auto": ("shared", "packed"), "padded": ()}
    ways |= {"packed": ("packed",), "shared": ("shared",)}
    findings: list[Finding] = []
    for layout in ways[asked]:
        tried = team.from_first(_try(replace(policy, layout=layout)))
        findings += tried
        if all(finding.fits for finding in tried):
            use_segments(policy.model)
            return Choice(replace(policy, layout=layout), tuple(findings))
    if findings and asked != "auto":
        raise ConfigError(
            f"train.layout: {type(policy.model).__name__} cannot be trained as asked ({_wrong(findings)}). Set it to "
            f"auto or padded."
        )
    return Choice(replace(policy, layout="padded"), tuple(findings))


def _wrong(findings: tuple[Finding, ...] | list[Finding]) -> str:
    return "; ".join(dict.fromkeys(finding.in_words() for finding in findings if not finding.fits))


def _try(policy: Policy) -> list[Finding]:
    """What is found of a policy's layout, in float32 where its weights are, and as it is trained."""
    sample = random_sample(policy.model.config.get_text_config().vocab_size, np.random.default_rng(0))
    scorer: Any = policy.scorer
    trained: torch.dtype | None = scorer.autocast_dtype
    exact = {weight.dtype for weight in policy.model.parameters() if weight.is_floating_point()} == {torch.float32}
    # Shared out, they are gathered in the type that they are multiplied in.
    exact = exact and (trained is None or not is_shared_out(policy.scorer))
    findings: list[Finding] = []
    truth: Computed | None = None
    with _small_windows(policy.model), _frozen(policy.model):
        try:
            for dtype in dict.fromkeys((None, trained) if exact else (trained,)):
                scorer.autocast_dtype = dtype
                named = dtype or (torch.float32 if exact else torch.bfloat16)
                finding, padded = _compare(policy, sample, str(named).removeprefix("torch."), truth)
                truth = truth or padded
                findings.append(finding)
        finally:
            scorer.autocast_dtype = trained
    policy.meter.take()
    return findings


def _compare(policy: Policy, sample: Sample, dtype: str, truth: Computed | None) -> tuple[Finding, Computed | None]:
    """A layout beside padding, in the type that is set; and what padding gives.

    Args:
        policy: In the layout.
        sample: What is computed.
        dtype: The type's name.
        truth: What padding gives in float32; None where that is not known.
    """
    before = policy.model.config._attn_implementation
    plain, padded = replace(policy, layout="padded"), None
    try:
        padded = compute(plain, [sample])
        use_segments(policy.model)
        difference = padded.difference(compute(policy, [sample]))
        policy.model.set_attn_implementation(before)
        finding = Finding(policy.layout, dtype, difference, _FLOOR)
        if finding.fits:
            return finding, padded
        noise = padded.difference(truth or compute(plain, sample.one_by_one()))
    except _WHAT_A_MODEL_MAY_RAISE as error:
        return Finding(policy.layout, dtype, None, None, f"{type(error).__name__}: {error}"), padded
    finally:
        policy.model.set_attn_implementation(before)
    return finding._replace(allowed=_allowed(noise, _MOST[dtype == "float32"])), padded


def _allowed(noise: Difference, most: Difference) -> Difference:
    limits = zip(noise, _FLOOR, most, strict=True)
    return Difference(*(max(floor, min(_NOISE * value, limit)) for value, floor, limit in limits))


@contextmanager
def _frozen(model: Any) -> Iterator[None]:
    """A model whose weights take no gradient: only its inputs' is computed.

    Weights that are shared out among processes are left alone: whether they take one is settled at their first use.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad and not is_part(weight)]
    try:
        for weight in trained:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


@contextmanager
def _small_windows(model: Any) -> Iterator[None]:
    """Windows of a model's attention made shorter than the sample, in its configs and in its layers."""
    configs = [model.config, *(getattr(model.config, name) for name in model.config.sub_configs)]
    holders = [*configs, *model.modules()]
    found = [(holder, name, vars(holder).get(name)) for holder in holders for name in _WINDOWS]
    changed = [(holder, name, value) for holder, name, value in found if isinstance(value, int) and value > _WINDOW]
    try:
        for holder, name, _ in changed:
            setattr(holder, name, _WINDOW)
        yield
    finally:
        for holder, name, value in changed:
            setattr(holder, name, value)
