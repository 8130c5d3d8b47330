"""What a next round is going to do: whose answers it asks for, who judges them, and the run that it trains."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..config import GenerationsConfig, JudgeConfig, RunConfig, build_config, override, placed
from ..errors import ConfigError, InputError, unknown_name
from ..hiding import without_secrets
from ..judges.registry import judge_spec
from ..line import CONFIG_FILE, load_saved_config, read_stage, stage_named
from ..storage.documents import read_document
from ..training.methods import check_methods, main_method

# Folder in a round's run that holds what it is made of, and the file in it that says so.
ROUND: Final = "round"
ROUND_FILE: Final = "round.json"
ROWS_FILE: Final = "rows.jsonl"
_NUMBERED: Final = re.compile(r"-round-\d+$")
THUMBS: Final = "thumbs"
# A path has lost one of the slashes.
_AT_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]+:/")


class Wanted(NamedTuple):
    """What a user decides of a round.

    Attributes:
        samples: Answers a prompt.
        prompts: Most prompts of the training split; None for all.
        temperature: Of the answers; None: the run's own.
        max_new_tokens: An answer is cut after this many tokens; None: the run's own.
        margin: Least difference of what the judge says of two answers that become a pair.
        judge: Name of one of the run's judges; None: its thumbs model.
        keep_log: Whether the log's own rows are trained on again beside the new ones.
        keep_cut: Whether answers that were cut become rows.
        settings: Settings of the new run, as `KEY=VALUE`.
        by_votes: Whether people judge, and no model.
    """

    samples: int = 4
    prompts: int | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None
    margin: float = 0.1
    judge: str | None = None
    keep_log: bool = False
    keep_cut: bool = False
    settings: Sequence[str] = ()
    by_votes: bool = False


@dataclass(frozen=True)
class RoundPlan:
    """A round.

    Attributes:
        number: 2 for the first one after a run of its own.
        previous: The run whose model answers.
        config: The run that is trained.
        asked: The previous run with the settings by which its model is asked.
        judge: Who judges; None where people do.
        wanted: What the user decided.
    """

    number: int
    previous: RunConfig
    config: RunConfig
    asked: RunConfig
    judge: JudgeConfig | None
    wanted: Wanted

    @property
    def folder(self) -> Path:
        """Where what the round is made of lies."""
        return self.config.run_dir / ROUND

    @property
    def label(self) -> str:
        """What the answers' model is called in tables."""
        return self.config.name

    @property
    def is_paired(self) -> bool:
        """Whether pairs are made; else rated answers."""
        return bool(main_method(self.config.train).spec.paired)


def plan_round(run_dir: Path, wanted: Wanted | None = None) -> RoundPlan:
    """The round after a run.

    Args:
        run_dir: Folder of a run that has trained a model.
        wanted: What the user decides; None: nothing.

    Raises:
        ConfigError: The folder holds no run, no model was trained, nobody can judge, or a setting does not hold.
    """
    wanted = wanted or Wanted()
    _check(wanted)
    if _AT_ADDRESS.match(str(run_dir)):
        raise ConfigError(
            f"next-round: {without_secrets(str(run_dir))} is no folder, and a round takes tables and model of the run "
            f"before it by links and paths. Make that run in a folder, `thumbline run` --set runs=FOLDER: log-probs "
            f"come from its store, and training gives the same model."
        )
    previous = _absolute(load_saved_config(run_dir))
    if read_stage(previous, stage_named("train")) is None:
        raise ConfigError(
            f"{run_dir}: no model was trained here, so there is none to answer; `thumbline run` of its run file trains "
            f"one."
        )
    number, name = _numbered(previous)
    judge = None if wanted.by_votes else judge_of(previous, wanted.judge)
    config = _next(previous, name, wanted)
    if judge is not None and judge.judge != THUMBS and not main_method(config.train).spec.paired:
        raise ConfigError(
            f"next-round: {main_method(config.train).name} takes rated answers, and only the thumbs model says which "
            f"are liked; {judge.called} gives a number. Judge by the thumbs model, or train by a method on pairs."
        )
    return RoundPlan(number, previous, config, _asked(previous, number, wanted), judge, wanted)


def rounds_before(run_dir: Path) -> list[Path]:
    """Folders of the runs that led to this one, the first run first, this one last.

    Raises:
        InputError: A run that a round names is not there any more, or what names it is damaged.
    """
    chain = [run_dir]
    while (file := chain[0] / ROUND / ROUND_FILE).is_file():
        document = read_document(file)
        name = None if document is None else document.get("previous")
        before = (chain[0] / name).resolve() if isinstance(name, str) else None
        if before is None or before in [one.resolve() for one in chain]:
            raise InputError(
                f"{file}: not as it was written (damaged, or edited by hand). `thumbline next-round` on the run before "
                "this round writes it again."
            )
        if not (before / CONFIG_FILE).is_file():
            raise InputError(f"{file}: the run before this round, {before}, is not there any more.")
        chain.insert(0, before)
    return chain


def _check(wanted: Wanted) -> None:
    least = 1 if wanted.by_votes else 2
    if wanted.samples < least:
        raise ConfigError(f"--samples {wanted.samples}: at least {least} answers a prompt are needed.")
    if wanted.prompts is not None and wanted.prompts < 1:
        raise ConfigError(f"--prompts {wanted.prompts}: give 1 or more, or leave it out for all.")
    if wanted.margin < 0:
        raise ConfigError(f"--margin {wanted.margin:g}: it is at least 0.")


def _numbered(previous: RunConfig) -> tuple[int, str]:
    """The round's number, and its run's name."""
    number = len(rounds_before(previous.run_dir)) + 1
    return number, f"{_NUMBERED.sub('', previous.name)}-round-{number}"


def _absolute(config: RunConfig) -> RunConfig:
    """The run with paths that mean the same wherever a file that holds them lies."""
    document = placed(config.model_dump(mode="json"), RunConfig, Path.cwd())
    store = config.store if "://" in config.store else str(Path(config.store).absolute())
    document |= {"runs": str(Path(config.runs).absolute()), "reference": document["reference"] | {"store": store}}
    return build_config(document, origin="next-round")


def judge_of(previous: RunConfig, name: str | None) -> JudgeConfig:
    """Who judges.

    Raises:
        ConfigError: The run has none of that name, no thumbs model, or the judge compares two answers.
    """
    named = {one.called: one for one in previous.judges}
    if name is None or (name == THUMBS and name not in named):
        if not previous.thumbs.is_on:
            raise ConfigError(
                "next-round: the run has no thumbs model that could judge. Set thumbs.method in its run file and run "
                "it again, name one of its judges by --judge, or let people vote: --votes FILE."
            )
        return JudgeConfig(judge=THUMBS)
    if name not in named:
        raise ConfigError(f"--judge: {unknown_name('judge of the run', name, [*named, THUMBS])}")
    if judge_spec(named[name].judge).pairwise:
        raise ConfigError(
            f"--judge {name}: it compares two answers; the best of several takes a judge that looks at one."
        )
    return named[name]


def _next(previous: RunConfig, name: str, wanted: Wanted) -> RunConfig:
    """The run that the round trains."""
    folder, train = previous.run_dir, previous.run_dir / "train" / "model"
    document = previous.model_dump(mode="json")
    document["name"] = name
    if previous.train.save == "adapter":
        # A second adapter would have no base on disk: the policy begins as the first one merged, and is written whole.
        document["reference"]["adapter"] = str(train)
        document["train"]["save"] = "merged"
    else:
        document |= {"model": str(train), "revision": None}
        document["reference"]["adapter"] = None
    if previous.thumbs.is_on:
        document["thumbs"] |= {"method": "none", "model": str(folder / "thumbs" / "thumbs_model")}
    for text in wanted.settings:
        override(document, text)
    # The run's place and name may have been among them.
    rows = Path(document["runs"]).absolute() / str(document["name"]) / ROUND / ROWS_FILE
    document["events"]["added"] = [*document["events"]["added"], str(rows)]
    if document["train"]["only_model"] == previous.train.only_model:
        document["train"]["only_model"] = None if wanted.keep_log else document["name"]
    config = build_config(document, origin="next-round")
    method = main_method(config.train)
    if method.spec.samples_answers:
        raise ConfigError(
            f"next-round: {method.name} writes and judges its own answers while it trains, and takes no rows; train on "
            f"the new ones by another method, as with --set train.method=dpo."
        )
    check_methods(config)
    if method.spec.paired:
        _check_comparisons(config)
    return config


def _check_comparisons(config: RunConfig) -> None:
    if not config.pairs.comparisons or "preference" not in config.pairs.comparison_kinds:
        raise ConfigError(
            "next-round: the new pairs are explicit preferences, which the run leaves out; add --set "
            "pairs.comparisons=true, with preference among pairs.comparison_kinds."
        )


def _asked(previous: RunConfig, number: int, wanted: Wanted) -> RunConfig:
    """The previous run with the round's way of asking; each round draws its own prompts and tokens."""
    own: dict[str, Any] = previous.generations.model_dump()
    own |= {"samples": wanted.samples, "seed": previous.generations.seed + number, "models": {}}
    given = {"temperature": wanted.temperature, "max_new_tokens": wanted.max_new_tokens}
    own |= {key: value for key, value in given.items() if value is not None}
    try:
        generations = GenerationsConfig.model_validate(own)
    except ValueError as error:
        raise ConfigError(f"next-round: {error}") from error
    return previous.model_copy(update={"generations": generations})
