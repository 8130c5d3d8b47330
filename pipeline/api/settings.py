"""One call or command to the settings of a run: its inputs, its folder, and what is set beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..config import RunConfig, build_config, override, put
from ..config.places import split_address
from ..errors import ConfigError
from ..hiding import without_secrets

LAST_STAGE_OF: Final = {"prepare": "splits", "train": "train"}
# No stage before training looks at the model.
NO_MODEL: Final = "demo"
_BY_ARGUMENTS: Final = ("name", "runs", "model")


def run_config(
    inputs: Sequence[str],
    output: Path | str,
    model: str,
    settings: Sequence[str] = (),
    *,
    origin: str = "command line",
    **sections: Any,
) -> RunConfig:
    """A run in the folder `output`, made from a command's or a call's arguments.

    Args:
        inputs: Logs or data sets.
        output: Folder of the run, or its address.
        model: Model name, or `demo`.
        settings: `key=value` overrides, which win.
        origin: Who asks, for errors.
        sections: Settings by stage.

    Raises:
        ConfigError: A setting does not hold.
    """
    if output == "":
        # What an unset variable of a shell leaves; a path would make the working folder of it.
        raise ConfigError("the output is an empty text, and no folder; '.' is the working folder.")
    if isinstance(output, str) and "://" in output:
        runs, name = split_address(output)
    else:
        place = Path(output).absolute()
        runs, name = str(place.parent), place.name
    if name in {"", ".."}:
        raise ConfigError(f"{without_secrets(str(output))}: a run's folder has a name of its own; choose one.")
    document: dict[str, Any] = {"name": name, "runs": runs, "model": model, **sections}
    document["events"] = {"inputs": list(inputs), **sections.get("events", {})}
    for setting in settings:
        override(document, setting)
    return build_config(document, origin=origin)


def sections_of(settings: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Settings as a run file has them, from sections (`pairs={...}`), dotted keys (`"pairs.strategy"`), or both.

    Raises:
        ConfigError: A dotted key leads through a value, or a key is one that the call's own arguments set.
    """
    document: dict[str, Any] = {}
    for key, value in settings.items():
        if key in _BY_ARGUMENTS:
            raise ConfigError(f"{origin}: '{key}' is no setting here; the arguments of the call set it.")
        if isinstance(value, Mapping):
            for name, part in value.items():
                put(document, f"{key}.{name}", part, origin=f"{origin}: {key}")
        else:
            put(document, key, value, origin=f"{origin}: {key}")
    return document


def placed_on(on: str | None) -> dict[str, str]:
    """The setting that a call's argument `on` stands for; none where it is None."""
    return {} if on is None else {"scale.runner": on}
