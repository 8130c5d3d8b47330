"""The stages one at a time, on somebody's own files: prepare and train."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..config import RunConfig, build_config, override

LAST_STAGE_OF: Final = {"prepare": "splits", "train": "train"}


def run_config(
    inputs: Sequence[str], output: Path, model: str, settings: Sequence[str], **sections: dict[str, Any]
) -> RunConfig:
    """A run in the folder `output`, made from a command's arguments.

    Args:
        inputs: Logs or data sets.
        output: Folder of the run.
        model: Model name, or `demo`.
        settings: `key=value` overrides, which win.
        sections: Settings that the command sets, by stage.

    Raises:
        ConfigError: A setting does not hold.
    """
    place = output.absolute()
    document: dict[str, Any] = {"name": place.name, "runs": str(place.parent), "model": model, **sections}
    document["events"] = {"inputs": list(inputs), **sections.get("events", {})}
    for setting in settings:
        override(document, setting)
    return build_config(document, origin="command line")
