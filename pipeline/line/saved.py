"""The settings that a run was last started with, kept in its folder."""

from pathlib import Path
from typing import Any, Final

import yaml

from ..config import RunConfig, build_config, read_document
from ..errors import ConfigError
from ..hiding import HIDDEN, PUBLIC_USER_KEY, with_named_secrets, without_secrets
from ..storage.attached import attached, push_there, shown_place
from ..storage.kept import check_text, write_checked

CONFIG_FILE: Final = "config.yaml"
_SHORTEST_KEY: Final = 6


def load_saved_config(run_dir: Path) -> RunConfig:
    """The settings that the run in `run_dir` was last started with.

    Raises:
        ConfigError: The folder holds no run, or its settings cannot be read.
        InputError: The file is not as it was written.
    """
    path = run_dir / CONFIG_FILE
    if not path.is_file():
        raise ConfigError(f"{shown_place(run_dir)}: no {CONFIG_FILE} here, so this is not the folder of a run.")
    try:
        check_text(path)
        document = read_document(path)
        # Neither is a setting: the command line, and a section that held nothing.
        for key in ("command", "policy"):
            document.pop(key, None)
        moved = build_config(document, origin=str(path))
    except ConfigError as error:
        raise ConfigError(
            f"{error}\nThese are the settings that the run was last started with; `thumbline run` of its run file "
            "writes them anew."
        ) from error
    there = attached(run_dir)
    runs = str(run_dir.parent) if there is None else there.runs
    return moved.model_copy(update={"runs": runs, "name": run_dir.name})


def save_config(config: RunConfig, command: str) -> None:
    """Keep the settings, with the command line where there is one; of secrets a digest, for what is kept is passed on.

    What needs no secret goes on from here; a stage that does needs the run file again.
    """
    document: dict[str, Any] = with_named_secrets(config.model_dump(mode="json"))
    document |= {"command": _without_key(without_secrets(command), config.events.user_key)} if command else {}
    path = config.run_dir / CONFIG_FILE
    write_checked(path, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    push_there(path)


def _without_key(command: str, user_key: str) -> str:
    """The command without the key, wherever in it the key stands."""
    # A shorter one may be a part of any word.
    is_secret = user_key != PUBLIC_USER_KEY and len(user_key) >= _SHORTEST_KEY
    return command.replace(user_key, HIDDEN) if is_secret else command
