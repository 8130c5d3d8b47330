"""Pictures of training: the parity gate, and one panel for each metric over the optimiser steps."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes

from ..formatting import MINUS, count, number, shortened, words
from ..training_facts import Curve, ParityFacts
from .canvas import (
    ACCENT,
    BAND,
    CHOSEN,
    FAINT,
    KEY_LINE,
    MUTED,
    REJECTED,
    Picture,
    blank,
    horizontal_label,
    inline_svg,
    key,
    key_lines,
)

_HEIGHT: Final = 240
_MAX_PANELS: Final = 12
_RUN_COLOURS: Final = (ACCENT, REJECTED, CHOSEN, BAND, MUTED)
_RUN_CHARACTERS: Final = 44
_UNITS: Final = {
    "loss": "the method's loss, mean over the rows of a step",
    "accuracy": "share of pairs whose chosen side has the higher reward, or of labelled rows on their label's side of "
    "the reference point; a tie counts one half",
    "reward_margin": "mean reward of chosen (desirable) minus mean reward of rejected (undesirable)",
    "reward": "mean score of sampled answers by the thumbs model, less what an answer that was cut loses",
    "penalised_reward": "the reward less the KL coefficient times the KL of each answer: what is raised",
    "kl_k1": "mean nats that sampled answers are likelier under the policy than under the reference, an answer",
    "kl_k3": "the same KL by an estimate that is never below 0",
    "entropy": "mean nats a token of sampled answers",
    "clip_fraction": "share of tokens (of RLOO, of answers) whose ratio the clipping held",
    "value_loss": "the value head's loss, mean over tokens",
    "answer_tokens": "mean tokens of sampled answers",
    "ended_share": "share of sampled answers that end themselves",
    "learning_rate": "the optimiser's learning rate",
    "grad_norm": "norm of the gradient before clipping",
    "chosen_rewards": "mean reward of each side",
    "desirable_rewards": "mean reward of each label",
    "chosen_logps": "mean log-prob of a completion, nats",
    "desirable_logps": "mean log-prob of a completion, nats",
    "reference_point": "KTO's z0, from which a reward is measured",
    "reference_kl": "mean log-prob of the rows' answers under the reference less the policy's, nats; of answers that "
    "the reference wrote, an unbiased estimate of KL(reference || policy)",
    "tokens": "tokens of the rows of a step, and those that the model computed for them",
}
_PARTNERS: Final = {
    "rejected_rewards": "chosen_rewards",
    "rejected_logps": "chosen_logps",
    "undesirable_rewards": "desirable_rewards",
    "undesirable_logps": "desirable_logps",
    "computed_tokens": "tokens",
}
_SIDES: Final = {"chosen": CHOSEN, "desirable": CHOSEN, "rejected": REJECTED, "undesirable": REJECTED}

# Nats below which differences are drawn with powers of ten.
_TINY: Final = 1e-3


def parity_picture(parity: ParityFacts) -> Picture:
    """Each sequence's difference from the stored log-prob, and the engine's own noise, over its length."""
    axes = blank(_HEIGHT, left=56, top=30)
    axes.axhline(0, color=FAINT, linewidth=1)
    lengths = [point.token_count for point in parity.points]
    noise = [point.batched_difference for point in parity.points]
    stored = [point.stored_difference for point in parity.points]
    axes.plot(lengths, noise, linestyle="none", marker="s", markersize=4, color=REJECTED, alpha=0.75, markeredgewidth=0)
    axes.plot(lengths, stored, linestyle="none", marker="o", markersize=5, color=ACCENT, alpha=0.75, markeredgewidth=0)
    axes.margins(x=0.04, y=0.12)
    if max(map(abs, noise + stored), default=1.0) < _TINY:
        axes.yaxis.set_major_formatter(_signed_scientific)
    horizontal_label(axes, "completion tokens")
    key(axes, (("stored reference", ACCENT), ("own noise, batched", REJECTED)))
    alternative = (
        f"Differences in nats from the training engine, one row at a time, for {count(len(parity.points))} sequences: "
        f"stored reference, mean absolute {number(parity.mean_difference)}, and the engine's own batched noise, mean "
        f"absolute {number(parity.noise)}."
    )
    return Picture(
        inline_svg(axes, "parity", alternative),
        "Difference in nats a sequence from the training engine's log-prob of the row alone.",
    )


def curve_pictures(curves: Sequence[Curve], taken_step: int | None = None) -> tuple[Picture, ...]:
    """A panel for each metric; a metric of chosen (desirable) rows shares one with that of rejected (undesirable).

    Args:
        curves: All of them.
        taken_step: The step whose weights were taken, to draw a line there; None for none.
    """
    panels: dict[str, list[Curve]] = {}
    for curve in curves:
        # Of several runs, colours tell the runs apart: each side has a panel of its own.
        name = curve.metric if curve.run else _PARTNERS.get(curve.metric, curve.metric)
        panels.setdefault(name, []).append(curve)
    return tuple(_panel(name, drawn, taken_step) for name, drawn in list(panels.items())[:_MAX_PANELS])


def _panel(name: str, curves: Sequence[Curve], taken_step: int | None) -> Picture:
    entries = _entries(curves)
    lines = len(entries) if curves[0].run else 1
    axes = blank(_HEIGHT + KEY_LINE * (lines - 1), left=56, top=30 + KEY_LINE * (lines - 1))
    for place, curve in enumerate(curves):
        _draw(axes, curve, _colour_of_run(place) if curve.run else _colour(curve))
    if taken_step is not None:
        axes.axvline(taken_step, color=MUTED, linewidth=1)
    axes.margins(x=0.03, y=0.1)
    axes.locator_params(axis="x", integer=True, nbins=6)
    axes.locator_params(axis="y", nbins=5)
    if name == "learning_rate":
        axes.yaxis.set_major_formatter(_scientific)
    horizontal_label(axes, "optimiser step")
    if curves[0].run:
        key_lines(axes, entries)
    else:
        key(axes, entries)
    title = " and ".join(dict.fromkeys(words(curve.metric) for curve in curves))
    said = "; ".join(
        f"{curve.run or words(curve.metric)}, {curve.phase}: from {number(curve.first, 4)} to {number(curve.last, 4)}"
        for curve in curves
    )
    alternative = f"Curve of {title} over the steps. {said}."
    return Picture(inline_svg(axes, f"curve-{_slug(name)}", alternative), _caption(title, curves))


def _entries(curves: Sequence[Curve]) -> list[tuple[str, str]]:
    """What the lines are; a dashed one is validation where both sides share a panel."""
    if curves[0].run:
        return [(shortened(curve.run, _RUN_CHARACTERS), _colour_of_run(place)) for place, curve in enumerate(curves)]
    if len({curve.metric for curve in curves}) == 1:
        return [(curve.phase, _colour(curve)) for curve in curves]
    names = {curve.metric.partition("_")[0]: _colour(curve) for curve in curves}
    dashed = [("dashed: validation", MUTED)] if len({curve.phase for curve in curves}) > 1 else []
    return [*names.items(), *dashed]


def _draw(axes: Axes, curve: Curve, colour: str) -> None:
    trained = curve.phase == "train"
    few = len(curve.steps) < 3
    axes.plot(
        curve.steps,
        curve.values,
        color=colour,
        linewidth=1.6 if trained else 1.2,
        marker="" if trained and not few else "o",
        markersize=5,
        markeredgewidth=0,
        linestyle="-" if trained else (0, (3, 2)),
        solid_joinstyle="round",
    )


def _colour_of_run(place: int) -> str:
    return _RUN_COLOURS[place % len(_RUN_COLOURS)]


def _colour(curve: Curve) -> str:
    side = _SIDES.get(curve.metric.partition("_")[0])
    return side or (ACCENT if curve.phase == "train" else BAND)


def _caption(title: str, curves: Sequence[Curve]) -> str:
    unit = _UNITS.get(curves[0].metric, "")
    parts = [f"{title[0].upper()}{title[1:]}" + (f": {unit}" if unit else "")]
    if curves[0].run:
        parts.append("on validation rows" if curves[0].phase == "validation" else "on training rows")
    if any(len(curve.steps) < curve.points for curve in curves):
        parts.append("each point is the mean of several steps")
    return "; ".join(parts) + "."


def _scientific(value: float, _: float) -> str:
    """`2e−5`: a learning rate as people write it."""
    digits, power = f"{value:.1e}".split("e")
    return "0" if value == 0 else f"{digits.removesuffix('.0')}e{MINUS}{abs(int(power))}" if value < 1 else f"{value:g}"


def _signed_scientific(value: float, _: float) -> str:
    """`−2e−6`: a difference that is rounding."""
    return f"{MINUS if value < 0 else ''}{_scientific(abs(value), _)}"


def _slug(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name)
