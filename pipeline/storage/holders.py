"""What lies at an address of who holds a run: numbered objects, of which the highest counts."""

import json
import math
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from .objects import Objects

LOCK: Final = "lock"
_DIGITS: Final = 6


class Holder(NamedTuple):
    """What a lease says of its owner.

    Attributes:
        number: The lease's.
        owner: A word of the process's own.
        worker: A word of its working folder.
        host: The machine's name.
        process: Its number there.
        since: When it was taken, UTC.
        expires_at: Until when it holds, UTC.
        renewals: How often it was renewed.
        activity: What the run does, as its working folder says it; empty where nothing is said.
    """

    number: int
    owner: str
    worker: str
    host: str
    process: int
    since: str
    expires_at: str
    renewals: int
    activity: str

    @property
    def words(self) -> str:
        """As in `process 71 on host-a`."""
        return f"process {self.process} on {self.host}"

    def seconds_left(self) -> float:
        """Until it ends, by this machine's clock; below zero where it has."""
        try:
            return (datetime.fromisoformat(self.expires_at) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return -math.inf


def holder(objects: Objects) -> Holder | None:
    """Who holds the newest lease, ended or not; None where there is none."""
    for name in reversed(objects.entries(LOCK)):
        found = _read(objects, name)
        # It may have been given back since it was listed.
        if found is not None:
            return found
    return None


def lease_name(number: int) -> str:
    """Name of the object of a lease."""
    return f"{LOCK}/{number:0{_DIGITS}d}.json"


def _read(objects: Objects, name: str) -> Holder | None:
    data = objects.read(f"{LOCK}/{name}")
    if data is None:
        return None
    try:
        found: dict[str, Any] = json.loads(data)
        return Holder(**{field: found[field] for field in Holder._fields})
    except (ValueError, KeyError, TypeError):
        # Nobody's; it holds until someone takes the next number.
        number = name.partition(".")[0]
        return Holder(int(number) if number.isdigit() else 0, "", "", "an unknown machine", 0, "", "", 0, "")
