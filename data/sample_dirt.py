"""How a clean list of events reaches a log: some twice, some late, and between them rows that are broken."""

import json
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

DUPLICATE_SHARE = 0.04
# Of the duplicates: delivered far from the first delivery instead of right after it.
FAR_SHARE = 0.5
FAR_LINES = 300
LATE_SHARE = 0.01
LATE_LINES = 100

Row = dict[str, Any]


class Delivery(NamedTuple):
    """Lines as they came.

    Attributes:
        lines: Without their line ends; all UTF-8 but the broken ones of kind `not_utf8`.
        duplicates: Lines that repeat an event which is also delivered otherwise.
        late: Events that are delivered once, but after events of a later time.
        broken: Kind of damage to number of lines.
    """

    lines: list[bytes]
    duplicates: int
    late: int
    broken: dict[str, int]


def encode(row: Row) -> bytes:
    """One line of the log, as UTF-8."""
    return json.dumps(row, ensure_ascii=False).encode()


def _without(*fields: str) -> Callable[[Row], bytes]:
    return lambda row: encode({name: value for name, value in row.items() if name not in fields})


def _with(**fields: Any) -> Callable[[Row], bytes]:
    return lambda row: encode(row | fields)


def _cut(row: Row) -> bytes:
    line = encode(row)
    # Inside the answer: a writer that died there leaves the string open. ASCII before the cut, so UTF-8 stays whole.
    return line[: line.index(b'"response"') + len(b'"response": "')]


def _not_utf8(row: Row) -> bytes:
    return encode(row | {"response": "caf@"}).replace(b"caf@", b"caf\xe9")


# Kind, number of lines, and how a good row becomes one.
DAMAGE: tuple[tuple[str, int, Callable[[Row], bytes]], ...] = (
    ("cut_json", 8, _cut),
    ("no_response_field", 4, _without("response")),
    ("no_prompt_field", 3, _without("prompt")),
    ("empty_response", 5, _with(response="")),
    ("unknown_label", 6, _with(feedback="meh")),
    ("wrong_type", 4, _with(response=404)),
    ("not_utf8", 1, _not_utf8),
)


def deliver(rows: list[Row], generator: Random) -> Delivery:
    """The lines of a log of `rows`, in time order, with duplicates, late ones and broken ones.

    A broken line is an event of its own, modelled on a good one: no good event is lost by it.
    """
    placed: list[tuple[float, bytes]] = []
    duplicates = late = 0
    for number, row in enumerate(rows):
        line, place = encode(row), float(number)
        draw = generator.random()
        if draw < LATE_SHARE:
            place += 1.5 + int(generator.random() * LATE_LINES)
            late += 1
        elif draw < LATE_SHARE + DUPLICATE_SHARE:
            far = generator.random() < FAR_SHARE
            placed.append((place + 0.5 + (int(generator.random() * FAR_LINES) if far else 0), line))
            duplicates += 1
        placed.append((place, line))
    for kind, count, damage in DAMAGE:
        for copy in range(count):
            model = rows[int(generator.random() * len(rows))]
            broken = damage(model | {"event_id": f"broken-{kind}-{copy + 1}"})
            placed.append((generator.random() * len(rows), broken))
    # Sorting is stable: lines of one place stay in the order in which they were made.
    placed.sort(key=lambda entry: entry[0])
    return Delivery([line for _, line in placed], duplicates, late, {kind: count for kind, count, _ in DAMAGE})
