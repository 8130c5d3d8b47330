"""Logs of tools with values that nobody expects: never a crash, never a vote that the log does not hold.

A few logs a format go all the way to the tables; `-m slow` has 500 more, which are read one by one and made
into tables together: to write and check a table takes ten times as long as to read a log of a few rows.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pytest

from tests.laws import scaled
from tests.unit.importers.cases import CASES
from tests.unit.importers.joined_fixtures import FILES
from tests.unit.importers.logs import RawLogs, checked, write_lines
from tests.unit.importers.test_signals import FIRST, TRY, sides
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.reading.files import FileSource
from thumbline.pipeline.reading.records import Record

ODD: Final[list[Any]] = [
    *(None, True, False, 0, 1, 2, -1, -3, 1.0, 0.5, 10**400, 1e308, "", " ", "1", "-1", "👍", "up", "x" * 300),
    *([], [[]], [None], ["a", "b"], [1, 2], {}, {"$oid": 1}, {"$date": {"$numberLong": "x"}}, {"$date": []}),
    *(
        {"role": "user", "content": "x"},
        {"value": "x"},
        [{"type": "text"}],
        [{"type": "text", "text": {}}],
        "{}",
        "[0,1]",
    ),
]
SIGNALS: Final = [
    *sides("chosen", "rejected", comparison_kind="arena"),
    FIRST | {"copied": True, "regenerated": False, "edited_response": "Very far.", "propensity": 0.5},
    TRY | {"answer_position": 2},
    FIRST | {"event_id": "e9", "system": "Be brief.", "history": [["Hi", "Hello."]]},
    FIRST
    | {
        "event_id": "e10",
        "tools": [{"name": "look"}],
        "prompt": [
            {"role": "user", "content": [{"type": "tool_result", "content": "9 C"}]},
            {"from": "human", "value": "?"},
        ],
        "response": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, "No."]}],
    },
]
_CALL: Final = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"town": "Bergen"}'}}
# Parts of a prompt in columns of their own; tools, calls, results and thoughts in every place that they may have.
PARTS: Final = [
    {
        "tools": [{"type": "function", "function": {"name": "look"}}],
        "prompt": [
            {"role": "user", "content": [{"type": "text", "text": "Rain?"}], "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [_CALL]},
            {"role": "tool", "content": "9 C", "tool_call_id": "c1"},
        ],
        "chosen": [{"role": "assistant", "content": "No.", "reasoning_content": "Dry."}],
        "rejected": [
            {"role": "assistant", "content": [{"type": "tool_use", "name": "look", "input": {"town": "Oslo"}}]}
        ],
    },
    {
        "tools": '[{"name": "look"}]',
        "prompt": '[{"role": "user", "content": "Rain?"}]',
        "completion": '[{"role": "assistant", "content": "Wait.", "thinking": "Hm."}]',
        "label": True,
    },
    {"system": "Be brief.", "instruction": "Name it.", "input": "A river.", "chosen": "The Loire.", "rejected": "Tea."},
    {"history": [["Hi", "Hello."]], "question": "Why?", "completion": "Rain.", "label": 1},
    {
        "conversations": [{"from": "human", "value": "Which?"}],
        "chosen": {"from": "gpt", "value": "This."},
        "rejected": {"from": "gpt", "value": "That."},
    },
]


def rows_of(name: str, folder: Path) -> list[dict[str, Any]]:
    """The records of a format's fixture, JSON in its cells and all; where votes lie apart from texts, those of both."""
    if name == "thumbs_jsonl":
        return copy.deepcopy(SIGNALS)
    folder.mkdir()
    CASES[name].write(folder)
    sources = [FileSource(path, path.name, 1 << 24) for path in sorted(folder.iterdir())]
    more = PARTS if name in ("trl", "conversations") else []
    return [*(row.value for source in sources for row in source.rows() if isinstance(row, Record)), *more]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every key of every object and every index of every list."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def texts(value: Any) -> Iterator[str]:
    """Every text, those of JSON in a text too."""
    if isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            yield from texts(json.loads(value))
    for inside in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(inside)


def damage(rows: list[dict[str, Any]], random: np.random.Generator, odd: list[Any] = ODD) -> list[dict[str, Any]]:
    """One to four values replaced by odd ones, taken from elsewhere in the log, or dropped."""
    rows = copy.deepcopy(rows)
    for _ in range(random.integers(1, 5)):
        found = [place for row in rows for place in places(row)]
        if not found:
            break
        (container, key), (other, other_key) = (found[index] for index in random.integers(0, len(found), 2))
        kind = random.integers(0, 4)
        if kind == 0 and isinstance(container, dict):
            del container[key]
        elif kind == 1:
            container[key] = copy.deepcopy(other[other_key])
        else:
            container[key] = copy.deepcopy(odd[random.integers(0, len(odd))])
    return rows


Reader = Callable[[EventsConfig], pl.DataFrame]


def check(folder: Path, name: str, logs: int, seed: int, read: Reader) -> None:
    """Nothing that `read` finds in damaged logs is an answer that they do not hold."""
    random = np.random.default_rng(seed)
    rows = rows_of(name, folder / "whole")
    for _ in range(logs):
        damaged = damage(rows, random)
        path = write_lines(folder / "log.jsonl", *damaged)
        try:
            events = read(EventsConfig(inputs=(str(path),), format=name, options=CASES[name].options))
        except PipelineError as error:
            assert "State" in str(error)  # a log that could mean two things: the user is told what to state
            continue
        said = "\0".join(texts(damaged))
        for completion in events["completion"].unique():
            # Parts of one message are joined by line breaks; each part is still the log's own.
            assert all(part in said for part in completion.split("\n"))


# Formats whose votes lie apart from their texts in many ways are tried by `test_joined_fuzz`.
NAMES: Final = sorted(set(CASES) - set(FILES))


@pytest.mark.parametrize("name", NAMES)
def test_odd_values(tmp_path: Path, name: str) -> None:
    check(tmp_path, name, scaled(40), seed=1, read=lambda config: checked(config).events)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_odd_values(tmp_path: Path, name: str) -> None:
    logs = RawLogs()
    check(tmp_path, name, 500, seed=2, read=logs.read)
    logs.check_tables()
