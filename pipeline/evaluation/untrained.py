"""The untrained model of several subjects: one model where its log-probs are the same, whatever it is measured by."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl
import polars.selectors as cs

from .subject import KEYS, UNTRAINED, Subject

_LOGPS: Final = cs.ends_with("_logps")


def same_untrained(subjects: Mapping[str, Subject]) -> dict[str, str]:
    """The first subject whose untrained model has the same log-probs, by each subject that has one.

    The loss on a row is not looked at: it is the method's, and two methods have two of one model.
    """
    scores = {name: _untrained_rows(one) for name, one in subjects.items() if UNTRAINED in one.model_names()}
    return {
        name: next(other for other in scores if all(map(pl.DataFrame.equals, scores[other], own)))
        for name, own in scores.items()
    }


def without_losses(name: str, subjects: Mapping[str, Subject], same: Mapping[str, str]) -> Subject:
    """A subject without its untrained model's losses, where other methods have others on the same rows."""
    subject = subjects[name]
    members = [subjects[one] for one, first in same.items() if first == same.get(name)]
    losses = [_untrained_rows(one, ["loss"]) for one in members]
    if not losses or all(all(map(pl.DataFrame.equals, losses[0], own)) for own in losses[1:]):
        return subject
    is_own = pl.when(pl.col("model") != UNTRAINED).then("loss")
    frames = {
        kind: frame.with_columns(loss=is_own) if "loss" in frame.columns else frame
        for kind, frame in subject.rows().items()
    }
    return dataclasses.replace(subject, pairs=frames.get("pairs"), unpaired=frames.get("unpaired"))


def _untrained_rows(subject: Subject, columns: Sequence[str] = ()) -> list[pl.DataFrame]:
    """Rows of the untrained model, by kind: log-probs, or `columns` as far as they are there."""
    return [
        frame.filter(pl.col("model") == UNTRAINED)
        .select(KEYS[kind], cs.by_name(*columns, require_all=False) if columns else _LOGPS)
        .sort(KEYS[kind])
        for kind, frame in subject.rows().items()
    ]


def untrained_names(
    subjects: Mapping[str, Subject], same: Mapping[str, str]
) -> tuple[dict[str, str | None], list[str]]:
    """What each subject's untrained model is called, None where it is left out; and what to say of that.

    One model has one name. Measured by several rewards it stands there by those that tell its answers apart: as the
    reference of its own reward it ties on every row, whatever it is.
    """
    alone = len(set(same.values())) == 1
    found: dict[str, str | None] = {}
    told = []
    for first in dict.fromkeys(same.values()):
        members = [name for name, other in same.items() if other == first]
        rows = {name: _untrained_rows(subjects[name]) for name in members}
        telling = [name for name in members if any(map(_tells, rows[name]))] or members[:1]
        kept = [
            name
            for place, name in enumerate(telling)
            if not any(all(map(pl.DataFrame.equals, rows[name], rows[other])) for other in telling[:place])
        ]
        own = UNTRAINED if alone else f"{first}: {UNTRAINED}"
        found |= dict.fromkeys(members, None)
        found |= {name: own if len(kept) == 1 else f"{name}: {UNTRAINED}" for name in kept}
        silent = [name for name in members if name not in telling]
        if silent and any(map(_tells, rows[telling[0]])):
            told.append(
                f"The untrained model is measured by the reward of {', '.join(kept)}: by that of {', '.join(silent)} "
                "it is the reference, and ties on every row."
            )
    return found, told


def _tells(frame: pl.DataFrame) -> bool:
    """Whether any two policy log-probs, or rewards in their place, differ from each other."""
    values = frame.select(cs.starts_with("policy_"))
    return any(values[name].n_unique() > 1 for name in values.columns)
