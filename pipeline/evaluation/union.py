"""Several subjects as one: the same held-out rows under all of their models, or a refusal that counts what differs."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import polars as pl

from thumbline.evaluators import EVALUATORS
from thumbline.evaluators.rewards import RewardKind, reward_of

from ..errors import InputError, examples
from .subject import KEYS, UNTRAINED, Subject
from .united_answers import unite_answers
from .untrained import same_untrained, untrained_names, without_losses

_SIDES: Final = {"pairs": ("chosen_", "rejected_"), "unpaired": ("",)}
_TRAINED: Final = "trained"
# Evaluators that read rewards alone: the others read log-probs, which rows turned into rewards no longer hold.
_OF_REWARDS: Final = (
    "pair_accuracy",
    "reward_margin",
    "calibration",
    "comparison",
    "unpaired_auc",
    "unpaired_comparison",
)
REWARD_EVALUATORS: Final = tuple(name for name in _OF_REWARDS if name in EVALUATORS)


class Reward(NamedTuple):
    """What a reward is: its kind and its scale."""

    kind: RewardKind
    beta: float


class Union(NamedTuple):
    """One subject made of several.

    Attributes:
        subject: All models on the rows that all share.
        as_rewards: Whether log-probs were replaced by rewards, since the subjects measure them differently.
    """

    subject: Subject
    as_rewards: bool


def check_same_rows(subjects: Mapping[str, Subject], kinds: Sequence[str] = tuple(KEYS)) -> None:
    """Refuse subjects whose rows are not the same ones.

    Args:
        subjects: By their names.
        kinds: The kinds of rows that have to agree.

    Raises:
        InputError: A kind of row is there for some only, or ids differ; the message counts what is where.
    """
    first, *others = subjects
    for name in others:
        left, right = subjects[first].rows(), subjects[name].rows()
        given = [kind for kind in kinds if is_filled(left.get(kind)) or is_filled(right.get(kind))]
        if not given:
            raise InputError(f"{first} and {name}: neither has a scored row, so there is nothing to compare.")
        for kind in given:
            ids = [_ids(own, rows.get(kind), kind) for own, rows in ((first, left), (name, right))]
            only = [ids[0] - ids[1], ids[1] - ids[0]]
            if any(only):
                raise InputError(_difference(first, name, kind, len(ids[0] & ids[1]), only))


def shared_rows(subjects: Mapping[str, Subject]) -> tuple[dict[str, Subject], list[str]]:
    """Subjects with the rows that all of them have, and sentences that count what was left out.

    Args:
        subjects: By their names.
    """
    found, said = dict(subjects), []
    for kind in KEYS:
        ids = {name: _ids(name, subject.rows().get(kind), kind) for name, subject in subjects.items()}
        shared = set.intersection(*ids.values())
        left = {name: len(own - shared) for name, own in ids.items() if own - shared}
        if left:
            found = {name: _with_ids(subject, kind, shared) for name, subject in found.items()}
            noun = "pairs" if kind == "pairs" else "unpaired rows"
            counts = ", ".join(f"{count:,} of {name}" for name, count in left.items())
            said.append(f"On the {len(shared):,} {noun} that all have; left out: {counts}.")
    return found, said


def _with_ids(subject: Subject, kind: str, ids: set[str]) -> Subject:
    """The subject with rows of a kind that have one of these ids."""
    rows = subject.rows().get(kind)
    kept = None if rows is None else rows.filter(pl.col(KEYS[kind]).is_in(ids))
    if kind == "pairs":
        return dataclasses.replace(subject, pairs=kept)
    return dataclasses.replace(subject, unpaired=kept)


def is_filled(frame: pl.DataFrame | None) -> bool:
    """Whether there is a row."""
    return frame is not None and not frame.is_empty()


def _ids(name: str, frame: pl.DataFrame | None, kind: str) -> set[str]:
    """The ids of a subject's rows of a kind.

    Raises:
        InputError: The column holds what is no id, or not in each row.
    """
    if frame is None:
        return set()
    ids = frame[KEYS[kind]]
    if not (ids.dtype.is_integer() or isinstance(ids.dtype, pl.String | pl.Categorical | pl.Enum)):
        raise InputError(f"{name}: column '{ids.name}' holds {ids.dtype}, not ids as text or whole numbers.")
    if ids.null_count():
        raise InputError(f"{name}: {ids.null_count():,} of {len(ids):,} rows have no '{ids.name}'; fill the column.")
    return set(ids.unique().to_list())


def _difference(first: str, other: str, kind: str, shared: int, only: Sequence[set[str]]) -> str:
    noun = "pairs" if kind == "pairs" else "unpaired rows"
    what = examples(sorted(only[0] or only[1]))
    return (
        f"{first} and {other} were not evaluated on the same {noun}: {shared:,} in both, {len(only[0]):,} only in "
        f"{first}, {len(only[1]):,} only in {other} (first: {what}). Numbers on different rows cannot be compared: "
        f"evaluate both on one file, run both with the same logs, splits and sequences settings, or compare on those "
        f"in both: --shared-rows."
    )


def unite(subjects: Mapping[str, Subject], rewards: Mapping[str, Reward]) -> Union:
    """All models of all subjects on the same rows.

    Args:
        subjects: By their names, which are unique; the first one's model is the baseline.
        rewards: What a reward is, by subject.

    Raises:
        InputError: Their rows are not the same ones.
    """
    check_same_rows(subjects)
    as_rewards = len(set(rewards.values())) > 1
    same = same_untrained(subjects)
    measured = {
        name: in_rewards(one, rewards[name]) if as_rewards else without_losses(name, subjects, same)
        for name, one in subjects.items()
    }
    starts, told = untrained_names(measured, same)
    names = _names(measured, starts)
    renamed = {name: _renamed(one, names[name]) for name, one in measured.items()}
    frames = {kind: _merged(kind, [subject.rows().get(kind) for subject in renamed.values()]) for kind in KEYS}
    first, second, *_ = subjects
    one = next(iter(rewards.values()))
    answers = unite_answers(subjects, names)
    pairs = subjects[first].tables.get("pairs")
    united = Subject(
        name=" vs ".join(subjects),
        pairs=frames["pairs"],
        unpaired=frames["unpaired"],
        baseline=_judged(renamed[first]),
        focus=_judged(renamed[second]),
        reward="sum_logps" if as_rewards else one.kind,
        beta=1.0 if as_rewards else one.beta,
        slices=subjects[first].slices,
        sources=tuple(source for subject in subjects.values() for source in subject.sources),
        models={name: notes for subject in renamed.values() for name, notes in subject.models.items()},
        tables={**({} if pairs is None else {"pairs": pairs}), **answers.tables},
        notes=(*(_notes(rewards) if as_rewards else ()), *told, *([answers.note] if answers.note else [])),
        judges=answers.judges,
    )
    return Union(united, as_rewards)


def _notes(rewards: Mapping[str, Reward]) -> tuple[str, ...]:
    listed = "; ".join(f"{name}: {reward.kind}, beta {reward.beta:g}" for name, reward in rewards.items())
    return (f"Each model's own reward is used ({listed}): compare accuracies and AUCs, not the sizes of margins.",)


def in_rewards(subject: Subject, reward: Reward) -> Subject:
    """The subject with rewards where log-probs stood, so that models of different rewards stand in one table."""
    frames = {}
    for kind, frame in subject.rows().items():
        columns = [
            expression
            for side in _SIDES[kind]
            for expression in (
                reward_of(reward.kind, reward.beta, side).alias(f"policy_{side}logps"),
                pl.lit(None, pl.Float64).alias(f"reference_{side}logps"),
            )
        ]
        frames[kind] = frame.with_columns(columns)
    return dataclasses.replace(subject, pairs=frames.get("pairs"), unpaired=frames.get("unpaired"))


def _names(subjects: Mapping[str, Subject], starts: Mapping[str, str | None]) -> dict[str, dict[str, str]]:
    """What each subject's models are called together: unique names, a run's trained model that of the run.

    Args:
        subjects: By their names.
        starts: What a subject's untrained model is called; None where it is left out, which has no name then.
    """
    own = Counter(name for subject in subjects.values() for name in subject.model_names())
    return {
        name: {
            model: _new_name(name, model, starts.get(name), repeated=own[model] > 1)
            for model in subject.model_names()
            if model != UNTRAINED or starts.get(name, UNTRAINED) is not None
        }
        for name, subject in subjects.items()
    }


def _renamed(subject: Subject, names: Mapping[str, str]) -> Subject:
    """The subject with its models' new names, without those that have none."""
    model = pl.col("model")
    frames = {
        kind: frame.filter(model.is_in(list(names))).with_columns(model.replace_strict(names))
        for kind, frame in subject.rows().items()
    }
    return dataclasses.replace(
        subject,
        pairs=frames.get("pairs"),
        unpaired=frames.get("unpaired"),
        baseline=None if subject.baseline is None else names.get(subject.baseline),
        models={names[model]: notes for model, notes in subject.models.items() if model in names},
    )


def _new_name(subject: str, model: str, start: str | None, *, repeated: bool) -> str:
    if model == _TRAINED:
        return subject
    if model == UNTRAINED and start is not None:
        return start
    return f"{subject}: {model}" if repeated else model


def _merged(kind: str, frames: Sequence[pl.DataFrame | None]) -> pl.DataFrame | None:
    given = [frame for frame in frames if frame is not None]
    if not given:
        return None
    together = pl.concat(given, how="diagonal_relaxed")
    return together.unique(["model", KEYS[kind]], keep="first", maintain_order=True).sort("model", KEYS[kind])


def _judged(subject: Subject) -> str:
    """The subject's first model that is not its own baseline."""
    names = subject.model_names()
    return next((name for name in names if name != subject.baseline), names[0])
