"""Run files and overrides to settings; what does not hold is told with its place."""

import logging
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ..errors import ConfigError, unknown_name
from ..hiding import shown_argument
from .documents import read_document, read_value
from .keys import section_at, sections
from .places import near, placed, value_placed
from .run import RunConfig
from .training import TrainConfig

_logger = logging.getLogger(__name__)
_WENT_ON: Final = (
    "%s: %s is there, and %s is not: earlier versions read paths of a run file in another way, and what they began "
    "goes on there. They are relative to the run file's folder now; move it, or write its path from there."
)
_OF_NAMES: Final = "it names the run's own folder: at least one character, and no '/'. `runs` says where it lies."
# What files of logs are called.
_OF_LOGS: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".gz", ".zst", ".zip")


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """The run that the YAML file at `path` describes, with `key.sub=value` overrides applied.

    Relative paths in the file are relative to its folder, `runs` among them; those of overrides to the working folder.

    Raises:
        ConfigError: The file is missing or no YAML mapping, a key is unknown, or a value is out of range.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such run file.")
    if path.suffix.lower() in _OF_LOGS:
        raise ConfigError(
            f"{path}: a run file is YAML, and this is a log by its name. `thumbline init {path}` looks at it and "
            f"writes a run file."
        )
    # A section under which nothing stands yet, or comments alone, sets nothing.
    stated = {key: value for key, value in read_document(path).items() if value is not None or key not in sections()}
    written = {"name": path.stem, "runs": "runs"} | stated
    document = placed(written, RunConfig, path.parent)
    placed_runs = document["runs"]
    for setting in overrides:
        override(document, setting)
    config = build_config(document, origin=str(path))
    if config.address is not None:
        return config
    config = config.model_copy(update={"runs": str(near(Path(config.runs)))})
    return _continued(config, written, document["runs"] == placed_runs)


def _continued(config: RunConfig, written: dict[str, Any], by_file: bool) -> RunConfig:
    """The run, and its store, where they are: what was begun when paths were read in another way goes on there.

    `runs` was relative to the working folder then, and `reference.store` to `runs`.

    Args:
        config: The run in its place now.
        written: The run file.
        by_file: Whether `runs` is what the file says.
    """
    runs, names = Path(str(written["runs"])), (config.name, f"{config.name}-sweep")
    here = [_is_folder(Path(config.runs) / name) for name in names]
    if by_file and not any(here) and any(_is_folder(runs / name) for name in names):
        _logger.warning(_WENT_ON, "runs", runs / config.name, config.run_dir)
        config = config.model_copy(update={"runs": str(runs)})
    section = written.get("reference", {})
    store = Path(config.runs) / str(section["store"]) if "store" in section else None
    if store is not None and not _is_folder(Path(config.store)) and _is_folder(store):
        _logger.warning(_WENT_ON, "reference.store", store, config.store)
        reference = config.reference.model_copy(update={"store": str(store.absolute())})
        config = config.model_copy(update={"reference": reference})
    return config


def _is_folder(path: Path) -> bool:
    """Whether a folder is there; of a path that no system takes, whoever writes there says what is wrong."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def build_config(document: dict[str, Any], *, origin: str) -> RunConfig:
    """The run that `document` describes.

    Raises:
        ConfigError: A key is unknown or a value out of range; the message lists each with its place.
    """
    try:
        return RunConfig.model_validate(document)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ConfigError(f"{origin}: {len(lines)} setting(s) do not hold:\n  " + "\n  ".join(lines)) from error


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"]) or "the whole file"
    if problem["type"] == "extra_forbidden":
        return f"{place}: {_unknown_key(problem['loc'])}"
    if problem["type"] == "model_type":
        return f"{place}: this is a section; write its settings below it, each as key: value."
    if problem["type"] == "tuple_type":
        return f"{place}: this is a list; write its entries as [a, b], or each below it after a dash."
    if problem["type"] == "string_pattern_mismatch" and place == "name":
        return f"{place}: {problem['input'][:80]!r}: {_OF_NAMES}"
    return f"{place}: {problem['msg']}"


def _unknown_key(location: tuple[Any, ...]) -> str:
    """What is known where an unknown key stands, and where else a key of its name is known."""
    *places, key = location
    section = section_at(tuple(places))
    told = unknown_name("key", str(key), section.model_fields)
    if section is TrainConfig:
        told += " Hyper-parameters of the method stand in train.loss."
    elsewhere = [name or "the file itself" for name, other in sections().items() if key in other.model_fields]
    return f"{told} There is one of that name in: {', '.join(elsewhere)}." if elsewhere else told


def override(document: dict[str, Any], setting: str) -> None:
    """Apply one `key.sub=value` to a run's document, in place; relative paths are relative to the working folder.

    Raises:
        ConfigError: It has no such form, or the key leads through a value.
    """
    origin = f"--set {shown_argument(setting)}"
    key, separator, value = setting.partition("=")
    if not separator or not all(key.strip().split(".")):
        raise ConfigError(f"{origin}: write it as key=value, for example --set train.method=kto.")
    names = tuple(key.strip().split("."))
    read = value_placed(names, read_value(value, names, origin=origin), RunConfig, Path())
    put(document, key.strip(), read, origin=origin)


def put(document: dict[str, Any], key: str, value: Any, *, origin: str) -> None:
    """Set `key.sub` of a run's document, in place.

    Args:
        document: Sections by name.
        key: Names of nested sections and of the setting, with dots between.
        value: What is set.
        origin: Who sets it, for errors.

    Raises:
        ConfigError: The key leads through a value.
    """
    *sections, last = key.split(".")
    target = document
    for section in sections:
        child = target.setdefault(section, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{origin}: '{section}' is a value, not a section.")
        target = child
    target[last] = value
