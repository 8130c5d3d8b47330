"""What would stop a run after hours, looked for before any work: settings, models, libraries, judges, the run's folder.

Nothing is loaded or downloaded but a hub model's config.json.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..config import RunConfig
from ..engines.adapters import resolve_adapter
from ..engines.models import check_chat_template, check_model
from ..engines.registry import choose_engine, choose_sampler
from ..errors import ConfigError, InputError
from ..judges.registry import check_judges
from ..libraries import check_libraries
from ..storage.files import exact_path
from ..training.methods import check_methods, check_training
from .data_checks import check_data
from .planning import read_stage, recorded
from .stages import STAGES, Stage, select, stage_named

_LAST_OF_DATA = "splits"


def check_run(config: RunConfig, stages: Sequence[Stage] = STAGES) -> None:
    """Refuse what would stop these stages of a run, before the first of them works.

    Args:
        config: The run.
        stages: Those that are asked for. Whether the data fits the method is told where the stages of the data are
            done; else it is told as soon as they are.

    Raises:
        ConfigError: A setting does not hold, or needs another one.
        InputError: A model or another file is not there, or the run's folder cannot be written to.
        MissingDependencyError: A library that a setting asks for is not installed.
    """
    names = {stage.name for stage in stages}
    if config.scale.runner == "ray":
        check_libraries("scale.runner: ray (--on ray)", "ray")
    _check_folder(config.run_dir)
    _check_files(config)
    _check_data_libraries(config, names)
    if names <= set(_data_stages()):
        return
    check_training(config)
    if names & {"judgements", "metrics", "report"} or config.train.choose == "frontier":
        check_judges(config.judges)
    _check_models(config)
    _check_engines(config)
    _check_recorded(config, stages)


def check_planned(config: RunConfig) -> None:
    """As `check_run`, of what does not hang on this machine: a plan may be for another one, that has the libraries.

    Raises:
        ConfigError: A setting does not hold, or needs another one.
        InputError: The run's data, as far as it is there, is not what the method trains on.
    """
    check_methods(config)
    _check_names(config)
    _check_recorded(config, STAGES)


def _check_recorded(config: RunConfig, stages: Sequence[Stage]) -> None:
    """Look at the data of a run that has it."""
    first = stage_named("events")
    if read_stage(config, first) is None:
        return
    if recorded(config, select(None, _LAST_OF_DATA)):
        check_data(config, stages)


def _data_stages() -> Iterator[str]:
    return (stage.name for stage in select(None, _LAST_OF_DATA))


def _check_folder(run_dir: Path) -> None:
    """Refuse a folder that cannot be made or written to; nothing is made yet."""
    place = Path(exact_path(run_dir))
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{run_dir}: no folder can be made here, since {place} is no folder; choose another place.")
    if not os.access(place, os.W_OK | os.X_OK):
        is_read_only = os.statvfs(place).f_flag & os.ST_RDONLY
        why = "the file system is read-only" if is_read_only else "permission denied"
        where = f"{run_dir}: " if place != run_dir.absolute() else ""
        raise InputError(f"{where}{place} cannot be written to ({why}); choose another place.")


def _check_files(config: RunConfig) -> None:
    for name, file in config.splits.evaluation_sets.items():
        if not Path(file).is_file():
            raise InputError(f"splits.evaluation_sets.{name}: {file}: no such file.")


def _check_data_libraries(config: RunConfig, names: set[str]) -> None:
    responses = config.responses
    needed = {
        "responses.languages": ("responses", bool(responses.languages), ("py3langid",)),
        "responses.screen_secrets": ("responses", responses.screen_secrets, ("detect_secrets",)),
        "responses.screen_personal_data": ("responses", responses.screen_personal_data, ("phonenumbers", "stdnum")),
        "pairs.group_prompts": ("pairs", config.pairs.group_prompts == "near_duplicate", ("rensa",)),
        "splits.near_duplicates": ("splits", config.splits.near_duplicates, ("rensa",)),
    }
    for setting, (stage, asked, libraries) in needed.items():
        if asked and stage in names:
            check_libraries(setting, *libraries)


def _check_models(config: RunConfig) -> None:
    check_model("model", config.model, config.revision)
    if config.sequences.template == "chat":
        check_chat_template(config.model)
    if config.thumbs.model is not None:
        check_model("thumbs.model", config.thumbs.model)
    if config.reference.adapter is not None and Path(config.reference.adapter).is_dir():
        resolve_adapter(config.reference.adapter)
    _check_names(config)
    for name, model in config.generations.models.items():
        if config.generations.is_on:
            check_model(f"generations.models.{name}", model)


def _check_names(config: RunConfig) -> None:
    for name, model in config.generations.models.items():
        if not name.strip() or not model.strip():
            what = f"name of {model!r}" if model.strip() else f"model of {name!r}"
            raise ConfigError(f"generations.models: the {what} is empty; write it as NAME: hub id or folder.")


def _check_engines(config: RunConfig) -> None:
    """Refuse engines and libraries that are not here."""
    train, reference = config.train, config.reference
    engine = choose_engine(reference)
    if config.generations.is_on:
        choose_sampler(config.generations.engine)
    if train.adapter != "none":
        check_libraries(f"train.adapter: {train.adapter}", "peft")
    if train.weights == "nf4" or reference.quantization == "nf4":
        check_libraries("4-bit weights (nf4)", "bitsandbytes", "accelerate")
    if train.optimizer == "adamw_8bit":
        check_libraries("train.optimizer: adamw_8bit", "bitsandbytes")
    if reference.adapter is not None and engine == "hf":
        check_libraries("reference.adapter", "peft")
