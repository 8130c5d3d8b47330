"""One rule for relative paths: those in a run file are relative to its folder, those typed to the working folder."""

import glob
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel

from ..errors import ConfigError
from ..hiding import without_secrets
from .caches import working_folder


@dataclass(frozen=True)
class Located:
    """Beside a field's type: its texts name files or folders.

    Attributes:
        kind: `path`: always, but for an address. `model`: a folder where there is one of that name, or where it begins
            with a dot or a tilde; else the name of a model. `function`: `FILE.py:function`, or a name. `store`: a path,
            made absolute, since a store that is not set lies beside the runs. `pattern`: a path that may be a pattern.
    """

    kind: Literal["path", "model", "function", "store", "pattern"]


FilePath: TypeAlias = Annotated[str, Located("path")]
ModelName: TypeAlias = Annotated[str, Located("model")]
FunctionName: TypeAlias = Annotated[str, Located("function")]
FilePattern: TypeAlias = Annotated[str, Located("pattern")]
StorePlace: TypeAlias = Annotated[str, Located("store")]


def placed(document: Any, model: type[BaseModel], folder: Path) -> Any:
    """A run's document, or a section of it, with relative paths as paths from `folder`.

    What has another form than settings have is left as it is: it is refused where it is checked.

    Args:
        document: Keys by name.
        model: What they are the settings of.
        folder: What relative paths in it are relative to.

    Raises:
        ConfigError: A model's folder is in the working folder instead.
    """
    if not isinstance(document, Mapping):
        return document
    fields = model.model_fields
    made = {
        key: _placed(value, (fields[key].annotation, *fields[key].metadata), folder) if key in fields else value
        for key, value in document.items()
    }
    if "judge" in fields and made.get("judge") == "thumbs":
        # Its options are its own, but its model is a folder as others are.
        options = _placed(made.get("options"), (dict[str, ModelName],), folder)
        return made if options is None else made | {"options": options}
    return made


def value_placed(key: tuple[str, ...], value: Any, model: type[BaseModel], folder: Path) -> Any:
    """The value of one setting, with relative paths as paths from `folder`.

    Args:
        key: Names that lead to it.
        value: Its value.
        model: What the first name is a setting of.
        folder: What relative paths are relative to.
    """
    document: Any = value
    for name in reversed(key):
        document = {name: document}
    document = placed(document, model, folder)
    for name in key:
        document = document[name]
    return document


def _placed(value: Any, kind: tuple[Any, ...], folder: Path) -> Any:
    """A value of a type and what is said beside it."""
    annotation, *said = kind
    if get_origin(annotation) is Annotated:
        return _placed(value, (*get_args(annotation), *said), folder)
    located = next((one for one in said if isinstance(one, Located)), None)
    if isinstance(value, str) and located is not None:
        return _from(value, located.kind, folder)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return placed(value, annotation, folder)
    inner = [part for part in get_args(annotation) if part is not type(None) and part is not ...]
    if isinstance(value, list | tuple):
        return [_placed(entry, (inner[0] if inner else None, *said), folder) for entry in value]
    if isinstance(value, Mapping) and get_origin(annotation) is dict:
        return {key: _placed(entry, (inner[1], *said), folder) for key, entry in value.items()}
    return _placed(value, (inner[0], *said), folder) if len(inner) == 1 else value


def _from(name: str, kind: str, folder: Path) -> str:
    if kind == "function":
        file, _, function = name.rpartition(":")
        return f"{_from(file, 'path', folder)}:{function}" if file.endswith(".py") else name
    if _is_address(name) or (kind == "model" and not name.strip()):
        # Nothing is no folder; it is refused where models are looked at.
        return name
    if name.startswith("~"):
        return str(Path(name).expanduser()) if name.startswith("~/") else name
    if kind == "store":
        return str(near(folder.absolute() / name))
    if kind == "pattern" and glob.has_magic(name) and not os.path.lexists(folder / name):
        # The folder's own name is no pattern, though the entry is one.
        return str(Path(glob.escape(str(folder))) / name)
    if kind in ("path", "pattern") or name.startswith("."):
        return str(folder / name)
    return _model_from(name, folder)


def _is_folder(path: Path) -> bool:
    """Whether one lies there; what is too long for a path is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _model_from(name: str, folder: Path) -> str:
    """A name that may be a folder's or a hub model's."""
    if _is_folder(folder / name):
        return str(folder / name)
    if _is_folder(Path(name)):
        raise ConfigError(
            f"model '{name}': the run file's folder has none of that name, and the working folder has. Paths in a run "
            f"file are relative to its own folder: write the path from there, or {Path(name).absolute()}."
        )
    return name


def _is_address(name: str) -> bool:
    return name.startswith("hub:") or "://" in name or Path(name).is_absolute()


def split_address(address: str) -> tuple[str, str]:
    """The address of the folder of runs, and the name of the run that lies in it.

    Raises:
        ConfigError: No run can lie there.
    """
    runs, _, name = address.rstrip("/").rpartition("/")
    if not name or not runs.partition("://")[2]:
        raise ConfigError(f"{without_secrets(address)}: a run lies below a bucket, as in s3://bucket/runs/mine.")
    return runs, name


def working_run(address: str) -> Path:
    """Where a run at an address works on this machine."""
    runs, name = split_address(address)
    return working_folder(runs) / name


def near(path: Path) -> Path:
    """The same place without `..`, a relative one from the working folder where it lies below it."""
    if ".." not in path.parts:
        return path
    whole, here = path.resolve(), Path.cwd()
    return whole.relative_to(here) if not path.is_absolute() and whole.is_relative_to(here) else whole
