"""What a run is doing, or was doing when it ended: a small file in its folder, kept by the process that runs it."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..context import Advance, Reporter
from ..errors import PipelineError
from ..hiding import without_secrets
from ..progress import Progress, told
from ..storage.attached import attached, check_held
from ..storage.files import writable_text, write_passing
from .locking import is_locked

_FILE: Final = ".activity.json"
# How old the file of a running process may be.
_EVERY_SECONDS: Final = 1.0


class Activity(BaseModel):
    """What a process does or did in a run's folder.

    Attributes:
        state: `running`; or how it ended: `failed`, `interrupted` (by Ctrl-C or SIGTERM), or `killed`, which it could
            not say itself.
        process: Its number.
        host: The machine's name.
        started_at: When it began, UTC, as all times here.
        updated_at: When it last said something.
        stage: What it is or was at; None before the first.
        description: What of the stage's work.
        done: Units of that work done.
        total: All of them; 0 where they are not counted.
        unit: What is counted.
        note: Words on the last unit.
        seconds_left: Of that work, at `updated_at`; None where that is not known.
        error: What ended it; None where nothing did.
    """

    model_config = ConfigDict(frozen=True)

    state: Literal["running", "failed", "interrupted", "killed"] = "running"
    process: int
    host: str
    started_at: str
    updated_at: str
    stage: str | None = None
    description: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    note: str = ""
    seconds_left: float | None = None
    error: str | None = None

    def words(self) -> str:
        """As in `running, train step 40 of 110, 3 min left`."""
        if self.total:
            left = self.seconds_left if self.state == "running" else None
            place = told(self.stage, self.description, self.done, self.total, self.unit, "", left)
        else:
            place = self.stage or ""
        if self.state == "running":
            return f"running, {place}" if place else "running"
        return f"{self.state} at {self.updated_at}" + (f" in {place}" if place else "")


def read_activity(run_dir: Path) -> Activity | None:
    """What a process does in the run's folder, or how the last one ended; None where that one finished.

    Whether it still runs is told by the folder's lock, which the system frees; of a run at an address that is at work
    on another machine, by its lease.
    """
    runs, there = is_locked(run_dir), attached(run_dir)
    try:
        if there is None or runs:
            # To open a pipe would wait for who writes to it.
            text: str | bytes = (run_dir / _FILE).read_bytes() if (run_dir / _FILE).is_file() else b""
        else:
            text, runs = there.activity()
        found = Activity.model_validate_json(text)
    except (OSError, ValidationError):
        # None there; or not one of ours, which says nothing.
        return None
    if runs == (found.state == "running"):
        return found
    return found.model_copy(update={"state": "running" if runs else "killed"})


@contextmanager
def followed(run_dir: Path, reporter: Reporter) -> Iterator[Reporter]:
    """The reporter, with what it is told kept in the run's folder as well until the work is done.

    Args:
        run_dir: A folder whose lock is held.
        reporter: Where progress goes.
    """
    keeper = _Keeper(run_dir, reporter)
    try:
        yield keeper
    except (KeyboardInterrupt, GeneratorExit):
        keeper.keep(state="interrupted")
        raise
    except PipelineError as error:
        keeper.keep(state="failed", error=without_secrets(str(error)))
        raise
    except Exception as error:
        keeper.keep(state="failed", error=type(error).__name__)
        raise
    with suppress(OSError):
        (run_dir / _FILE).unlink(missing_ok=True)


class _Keeper:
    """A reporter that passes on what it is told, and keeps it."""

    def __init__(self, run_dir: Path, reporter: Reporter) -> None:
        self._path, self._reporter = run_dir / _FILE, reporter
        self._stage: str | None = None
        self._progress: Progress | None = None
        self._written = 0.0
        now = _now()
        self._began = Activity(process=os.getpid(), host=platform.node(), started_at=now, updated_at=now)
        self.keep()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._stage, self._progress = name, None
        self.keep()
        with self._reporter.stage(name):
            yield

    @contextmanager
    def progress(self, description: str, total: int, unit: str) -> Iterator[Advance]:
        progress = self._progress = Progress(description, total, unit)
        self.keep()
        with self._reporter.progress(description, total, unit) as advance:

            def both(done: int) -> None:
                advance(done)
                progress.advance(done)
                self._keep_sometimes()

            yield both
        self._progress = None

    def note(self, text: str) -> None:
        if self._progress is not None:
            self._progress.note = text
        self._reporter.note(text)

    def say(self, message: str) -> None:
        self._reporter.say(message)

    def _keep_sometimes(self) -> None:
        check_held(self._path.parent)
        if time.monotonic() - self._written >= _EVERY_SECONDS:
            self.keep()

    def keep(self, state: Literal["running", "failed", "interrupted"] = "running", error: str | None = None) -> None:
        """Write down what is known; a disk that does not take it is no reason to stop."""
        self._written = time.monotonic()
        now = {"updated_at": _now(), "state": state, "error": error, "stage": self._stage} | self._counted()
        # Names of files may not be UTF-8, which what is written is.
        said = {name: writable_text(value) if isinstance(value, str) else value for name, value in now.items()}
        found = self._began.model_copy(update=said)
        with suppress(OSError):
            write_passing(self._path, found.model_dump_json())

    def _counted(self) -> dict[str, str | int | float | None]:
        one = self._progress
        if one is None:
            return {}
        return {
            "description": one.description,
            "done": one.done,
            "total": one.total,
            "unit": one.unit,
            "note": one.note,
            "seconds_left": one.seconds_left(),
        }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
