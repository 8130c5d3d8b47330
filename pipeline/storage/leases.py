"""One process at a time at a run's address: a lease, an object that its owner renews and that ends by itself.

Leases are numbered. A new one is made by a conditional put, which the store grants to one of those who ask; the highest
number holds. So no clock but a waiting process's own decides whether an owner is gone, and one that was only slow finds
a higher number, or not its own object, before it publishes anything.
"""

import json
import logging
import math
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from ..errors import BusyError, PipelineError
from .holders import LOCK, Holder, holder, lease_name
from .objects import Objects

_logger = logging.getLogger(__name__)


class Terms(NamedTuple):
    """How long a lease holds.

    Attributes:
        seconds: Without a renewal.
        renewal: Seconds between renewals.
        settling: Seconds until another's put would be seen, in a store without conditional puts.
    """

    seconds: float = 60.0
    renewal: float = 10.0
    settling: float = 3.0


TERMS: Final = Terms()


class Lease:
    """A lease on what lies at an address."""

    def __init__(
        self, objects: Objects, worker: str, activity: Path, say: Callable[[str], None], terms: Terms = TERMS
    ) -> None:
        """Nothing is asked of the store yet.

        Args:
            objects: What lies at the address.
            worker: A word of the working folder, in which this process alone is at work: an earlier lease of the same
                folder is of a process that has ended.
            activity: File that says what the run does; others read it in the lease.
            say: Told of what a person should know.
            terms: How long it holds.
        """
        self._objects, self._worker, self._activity, self._say, self._terms = objects, worker, activity, say, terms
        self._owner = secrets.token_hex(8)
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._number = 0
        self._renewals = 0
        self._renewed = -math.inf
        self._lost = ""
        self._stop = threading.Event()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Hold the lease, and renew it until it is given back.

        Raises:
            BusyError: Another process holds it.
        """
        while True:
            before = holder(self._objects)
            if before is not None:
                self._await_end(before)
            number = 1 if before is None else before.number + 1
            if self._objects.create(lease_name(number), self._document(number)):
                newest = holder(self._objects)
                if newest is None or newest.number <= number:
                    break
                # Another one was taken between the look and the put.
                self._objects.remove([lease_name(number)])
        self._number = number
        if self._objects.create(lease_name(number), self._document(number, "probe")):
            self._settle()
        if before is not None and before.worker != self._worker:
            self._say(
                f"{self._objects.shown}: the lease of {before.words} ended at {before.expires_at[:19]} without a "
                f"renewal; this process goes on in its place."
            )
        self._clear(number)
        self._thread = threading.Thread(target=self._keep, name="thumbline-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Stop where the lease is known to be lost. The store is not asked: it may be out of reach for a while.

        Raises:
            BusyError: Another process holds it.
        """
        self._refuse_lost()

    def confirm(self) -> None:
        """Renew the lease unless that was done just now, and stop where it is another's; called before publishing.

        Raises:
            BusyError: Another process holds it.
            PipelineError: The store does not answer.
        """
        self._refuse_lost()
        # Nobody takes a lease that was renewed so shortly ago, by however wrong a clock.
        if time.monotonic() - self._renewed > self._terms.renewal / 2:
            self._renew()
        self._refuse_lost()

    def give_back(self) -> None:
        """Delete the lease where it is still this process's."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            if self._number and not self._lost and self._is_ours():
                self._objects.remove([lease_name(self._number)])
        except PipelineError as error:
            # It ends by itself.
            _logger.info("The lease is not given back: %s", error)

    def _await_end(self, before: Holder) -> None:
        """Return once a lease has ended; one whose owner shows itself meanwhile is refused at once.

        Whoever renews changes the object: a clock that is wrong ends nobody's lease.
        """
        if before.worker == self._worker:
            return
        waited = time.monotonic()
        while True:
            time.sleep(min(1.0, self._terms.renewal / 5))
            now = holder(self._objects)
            if now is None:
                return
            if (now.owner, now.renewals) != (before.owner, before.renewals):
                raise BusyError(self._busy(now))
            if before.seconds_left() < 0 and time.monotonic() - waited > 1.5 * self._terms.renewal:
                return

    def _busy(self, now: Holder) -> str:
        return (
            f"{self._objects.shown}: another process is running this run ({now.words}). Wait for it, or stop it; "
            f"`thumbline status {self._objects.shown}` says how far it is. The lease of one that was killed ends by "
            f"itself within {self._terms.seconds:.0f} s."
        )

    def _settle(self) -> None:
        """Where the store took a second object of one name: wait until the last of those who put one would be seen."""
        self._say(
            f"{self._objects.shown}: this store takes no conditional puts (If-None-Match), so that two runs that begin "
            f"here in the same moment may both be at work for {self._terms.settling:.0f} s; start one at a time."
        )
        time.sleep(self._terms.settling)
        now = holder(self._objects)
        if now is None or now.owner != self._owner:
            self._number = 0
            gone = f"{self._objects.shown}: the lock was deleted while it was taken. Start again."
            raise BusyError(gone if now is None else self._busy(now))

    def _clear(self, number: int) -> None:
        """Delete earlier leases."""
        old = [name for name in self._objects.entries(LOCK) if name < lease_name(number).rpartition("/")[2]]
        self._objects.remove([f"{LOCK}/{name}" for name in old])

    def _keep(self) -> None:
        while not self._stop.wait(self._terms.renewal):
            try:
                self._renew()
            except PipelineError as error:
                # The next try may do; what is published asks again before.
                _logger.info("The lease is not renewed: %s", error)
            if self._lost:
                return

    def _renew(self) -> None:
        with self._turn:
            if self._lost or not self._is_ours():
                return
            self._renewals += 1
            began = time.monotonic()
            self._objects.write(lease_name(self._number), self._document(self._number))
            self._renewed = began

    def _is_ours(self) -> bool:
        now = holder(self._objects)
        if now is not None and (now.number, now.owner) == (self._number, self._owner):
            return True
        self._lost = "it is gone" if now is None else f"{now.words} holds it now"
        return False

    def _refuse_lost(self) -> None:
        if self._lost:
            raise BusyError(
                f"{self._objects.shown}: this process has lost its lease on the run ({self._lost}), after it could not "
                f"be renewed in time. Nothing more is published; finished stages are kept, and a further start goes on "
                f"from them."
            )

    def _document(self, number: int, mark: str = "") -> bytes:
        try:
            activity = self._activity.read_text(encoding="utf-8", errors="replace")
        except OSError:
            activity = ""
        expires = datetime.now(UTC) + timedelta(seconds=self._terms.seconds)
        held = Holder(
            number,
            self._owner,
            self._worker,
            platform.node(),
            os.getpid(),
            self._since,
            expires.isoformat(timespec="milliseconds"),
            self._renewals,
            activity,
        )
        return json.dumps(held._asdict() | ({"mark": mark} if mark else {}), indent=1).encode()
