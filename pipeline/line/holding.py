"""A run's folder wherever it lies, held or looked at: for one at an address a working folder stands."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from ..config import RunConfig, load_config
from ..config.places import working_run
from ..errors import ConfigError
from ..storage.attached import attach, attached
from ..storage.files import make_folder
from ..storage.mirrors import Mirror
from ..storage.objects import open_objects
from .locking import is_locked, locked
from .saved import load_saved_config
from .stages import STAGE_NAMES

_PULLING: Final = ".pulling"
_OF_RUN_FILES: Final = frozenset({".yaml", ".yml"})


@contextmanager
def held(config: RunConfig, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold a run's folder; of one at an address, with what its stages say of themselves brought here.

    Args:
        config: The run.
        say: Told of what a person should know of the store.

    Raises:
        BusyError: Another process holds it.
        PipelineError: The store at the address refuses, or fails.
    """
    make_folder(config.run_dir)
    mirror = _mirror(config)
    with locked(config.run_dir):
        if mirror is None:
            yield
            return
        with mirror.leased(say):
            with _pulling(config.run_dir):
                mirror.pull()
            mirror.publish_behind()
            yield


def see(config: RunConfig) -> None:
    """Bring what the stages of a run at an address say of themselves here; of another run nothing happens.

    Raises:
        PipelineError: The store refuses, or fails.
    """
    mirror = _mirror(config)
    if mirror is None:
        return
    with _pulling(config.run_dir):
        # Where it runs in this very folder, that is newer than what the store has.
        if not is_locked(config.run_dir):
            mirror.pull()


def open_run(run: str | Path, overrides: tuple[str, ...] = ()) -> RunConfig:
    """The settings of a run to look at, with what its stages say of themselves here.

    Args:
        run: Its folder, its address, or its run file.
        overrides: `key=value` over those of the run file.

    Raises:
        ConfigError: It is none of them.
        PipelineError: The store at the address refuses, or fails.
    """
    text = str(run)
    if "://" in text:
        return _at(text)
    path = Path(run)
    if path.suffix in _OF_RUN_FILES:
        config = load_config(path, overrides)
        see(config)
        return config
    return load_saved_config(path)


def is_run_at(address: str) -> bool:
    """Whether a run lies at an address, or something else, such as a file."""
    if PurePosixPath(address.partition("?")[0]).suffix in {".parquet", ".jsonl", ".json", ".csv", ".gz", ".zst"}:
        return False
    return open_objects(address, "run").read("config.yaml") is not None


def _at(address: str) -> RunConfig:
    folder = working_run(address)
    mirror = _attach(address.rstrip("/"), folder)
    with _pulling(folder):
        if not is_locked(folder):
            mirror.pull()
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"{mirror.shown}: no config.yaml here, so this is not the folder of a run.")
    return load_saved_config(folder)


def _mirror(config: RunConfig) -> Mirror | None:
    return None if config.address is None else _attach(config.address, config.run_dir)


def _attach(address: str, folder: Path) -> Mirror:
    known = attached(folder)
    if isinstance(known, Mirror):
        return known
    mirror = Mirror(open_objects(address, "runs"), address.rpartition("/")[0], folder, STAGE_NAMES)
    attach(folder, mirror)
    return mirror


@contextmanager
def _pulling(folder: Path) -> Iterator[None]:
    """One process at a time takes what the store has into a working folder."""
    with (folder / _PULLING).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
