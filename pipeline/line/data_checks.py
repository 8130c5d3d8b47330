"""Whether a run's data is what its method trains on, told as soon as the data is there: before anything is scored."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..config import RunConfig
from ..errors import InputError
from ..storage.manifests import Manifest
from ..training.methods import main_method
from ..training.reward.kinds import thumbs_kinds
from .planning import read_stage
from .stages import Stage, stage_named
from .telling import stage_lines

# A method that trains on the other kind of rows, as an example.
_OTHER: Final[Mapping[str, str]] = {"pairs": "kto", "unpaired": "dpo"}
_WORDS: Final[Mapping[str, str]] = {"pairs": "pairs", "unpaired": "labelled answers"}


def check_data(config: RunConfig, stages: Sequence[Stage]) -> None:
    """Refuse data on which what comes after the splits cannot work.

    Args:
        config: A run whose stages up to the splits have finished.
        stages: Those that are asked for.

    Raises:
        InputError: There are no rows of the method's kind, all have one label, or nothing is held out to evaluate on;
            with the reason and the way out.
    """
    names = {stage.name for stage in stages}
    if not names & {"sequences", "thumbs", "reference", "train"}:
        return
    found = {name: read_stage(config, stage_named(name)) for name in ("unpaired", "pairs", "splits")}
    made = {name: manifest for name, manifest in found.items() if manifest is not None}
    if len(made) < len(found):
        return
    method = main_method(config.train)
    if not method.spec.samples_answers:
        # The prompts of the others are those of the thumbs model's rows.
        _check_rows(made, method.spec.rows, f"train.method {method.name}", "train.method")
    kinds = thumbs_kinds(config)
    # Of two kinds the thumbs model takes what there is.
    if len(kinds) == 1:
        _check_rows(made, kinds[0], f"thumbs.method {config.thumbs.method}", "thumbs.method")
    if "metrics" in names:
        _check_held_out(config, made)


def _check_rows(made: Mapping[str, Manifest], kind: str, asked_by: str, setting: str) -> None:
    """Refuse where nothing of a kind of rows is there to train on, or all of it has one label."""
    several = _WORDS[kind]
    total, in_train = _rows(made[kind], kind), int(made["splits"].notes[kind]["train"])
    if not total:
        raise InputError(
            f"{asked_by} trains on {several}, and the log gave none.{_why(made[kind])}{_instead(made, kind, setting)}"
        )
    if not in_train:
        raise InputError(
            f"{asked_by} trains on {several}, and none of {total:,} is in the training split. Lower splits.validation "
            f"and splits.test, or collect more prompts."
        )
    notes: Mapping[str, Any] = made[kind].notes
    alone = [side for side in ("desirable", "undesirable") if notes.get(side) == 0]
    if kind == "unpaired" and alone:
        label = "undesirable" if alone == ["desirable"] else "desirable"
        raise InputError(
            f"{asked_by} tells good answers from bad ones, and all {total:,} {several} of the log are {label}. If the "
            f'log has other votes, state them: --set \'events.options={{up: "good", down: "bad"}}\'; `thumbline '
            f"rejects` shows what was not read.{_instead(made, kind, setting)}"
        )


def _rows(manifest: Manifest, kind: str) -> int:
    return manifest.outputs[kind].rows


def _why(manifest: Manifest) -> str:
    """Why a table is empty, in the words of its stage."""
    told = [line[:1].upper() + line[1:].rstrip(".") for line in stage_lines(manifest)]
    return f" {'. '.join(told)}." if told else ""


def _instead(made: Mapping[str, Manifest], kind: str, setting: str) -> str:
    """The way out by a method of the other kind of rows, where there are such rows."""
    other = "unpaired" if kind == "pairs" else "pairs"
    count = _rows(made[other], other)
    if not count:
        return ""
    example = _OTHER[kind] if setting == "train.method" else {"pairs": "reward_bce", "unpaired": "reward_bt"}[kind]
    gave = _counted(count, _WORDS[other].removesuffix("s"))
    return f" The log gave {gave}: --set {setting}={example} trains on them."


def _check_held_out(config: RunConfig, made: Mapping[str, Manifest]) -> None:
    """Refuse where rows were to be held out, and the split that is evaluated has none."""
    split, notes = config.metrics.split, made["splits"].notes
    asked = getattr(config.splits, split, 0.0)
    if not asked or notes["pairs"][split] or notes["unpaired"][split]:
        return
    prompts, groups = _counted(sum(notes["prompts"].values()), "prompt"), _counted(notes["groups"], "group")
    raise InputError(
        f"metrics: the {split} split is empty though splits.{split} is {asked:g}, so nothing could be evaluated: there "
        f"are {prompts} in {groups}, and a group is never divided. Collect more prompts, raise splits.{split}, or "
        f"train without an evaluation: --until train."
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
