"""Whether this process runs the run at an address, and what its process does, or how the last one ended."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..errors import PipelineError
from . import leases
from .holders import holder
from .leases import Lease
from .objects import Objects

# How the last process ended, where that was not well.
ENDED: Final = "activity.json"
_ACTIVITY: Final = ".activity.json"
_logger = logging.getLogger(__name__)
Say = Callable[[str], None]


class Ownership:
    """The lease on a run at an address, where this process holds it.

    Attributes:
        say: Told of what a person should know.
    """

    def __init__(self, objects: Objects, folder: Path) -> None:
        """Hold nothing yet.

        Args:
            objects: What lies at the address.
            folder: The working folder.
        """
        self._objects, self._path = objects, folder / _ACTIVITY
        self._lease: Lease | None = None
        self.say: Say = _logger.info

    @property
    def is_held(self) -> bool:
        """Whether this process holds it."""
        return self._lease is not None

    @contextmanager
    def leased(self, worker: str, say: Say) -> Iterator[None]:
        """Hold the run against other processes; the lock of the working folder is held already.

        Args:
            worker: A word of the working folder.
            say: Told of what a person should know.

        Raises:
            BusyError: Another process runs it.
        """
        lease = Lease(self._objects, worker, self._path, say, leases.TERMS)
        try:
            lease.take()
            self._lease, self.say = lease, say
            try:
                yield
            finally:
                self._keep_ending()
        finally:
            self._lease, self.say = None, _logger.info
            lease.give_back()

    def check(self) -> None:
        """Raise BusyError where this process has lost the run to another; the store is not asked."""
        if self._lease is not None:
            self._lease.check()

    def confirm(self) -> None:
        """As `check`, having asked the store; called before anything is published."""
        if self._lease is not None:
            self._lease.confirm()

    def activity(self) -> tuple[str, bool]:
        """What the run's process says that it does, and whether it is alive; as it ended where none is."""
        now = holder(self._objects)
        if now is not None:
            began = {"process": now.process, "host": now.host, "started_at": now.since, "updated_at": now.since}
            return now.activity or json.dumps(began), now.seconds_left() > 0
        ended = self._objects.read(ENDED)
        return "" if ended is None else ended.decode("utf-8", errors="replace"), False

    def _keep_ending(self) -> None:
        """Publish how the process ends that runs this; nothing where it ends well."""
        try:
            self.check()
            if self._path.is_file():
                self._objects.write(ENDED, self._path.read_bytes())
            else:
                self._objects.remove([ENDED])
        except PipelineError as error:
            # What ended the run is said already.
            _logger.info("How the run ended is not published: %s", error)
