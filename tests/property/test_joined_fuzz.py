"""Joined formats whose values are anything at all: never a crash, never an answer that nobody gave."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from tests.laws import scaled
from tests.unit.importers.joined_fixtures import FILES
from tests.unit.importers.joined_logs import write
from tests.unit.importers.logs import RawLogs, checked
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.stages.events import ingest

STRANGE: Final[list[Any]] = [
    None, True, False, 0, 1, -1, 2.5, 10**30, "", " ", "x", "{", "[1]", '{"role": 1}', "👍", [], [[]], [None], {},
    {"role": "user"}, {"messages": 7}, {"content": None, "role": "assistant"}, [{"role": [], "content": {}}],
    {"kwargs": {}, "id": []}, {"weave": {"feedback": [1]}}, [{"key": "a", "value": {"arrayValue": 3}}],
    {"a": {"b": {"c": "d"}}},
]  # fmt: skip


def places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every container with every key or position in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    for key in keys:
        found.append((value, key))
        places(value[key], found)
    return found


def mutated(files: dict[str, list[Any]], random: np.random.Generator) -> dict[str, list[Any]]:
    """Files with one to three values replaced, dropped or doubled; rows stay objects."""
    changed = copy.deepcopy(files)
    for _ in range(int(random.integers(1, 4))):
        inside = [place for rows in changed.values() for row in rows for place in places(row, [])]
        container, key = inside[int(random.integers(0, len(inside)))]
        deed = int(random.integers(0, 4))
        if deed == 0 and isinstance(container, dict):
            del container[key]
        elif deed == 1 and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[key] = copy.deepcopy(STRANGE[int(random.integers(0, len(STRANGE)))])
    return changed


def fuzz(folder: Path, name: str, count: int, seed: int, read: Callable[[EventsConfig], tuple[set[str], int]]) -> None:
    """What `read` finds, as completions and rows in, is of the damaged files; nor does damage multiply rows."""
    random = np.random.default_rng(seed)
    whole = ingest(EventsConfig(inputs=tuple(write(folder, FILES[name])), format=name))
    known = set(whole.events["completion"])
    for _ in range(count):
        files = mutated(FILES[name], random)
        completions, rows_in = read(EventsConfig(inputs=tuple(write(folder, files)), format=name))
        assert rows_in <= 4 * whole.counts.rows_in + 4
        # Whatever the damage, an answer is a text of the files, or several parts of one joined.
        said = [container[key] for rows in files.values() for container, key in places(rows, [])]
        found = completions - {text for text in said if isinstance(text, str)} - known
        assert not [text for text in found if "\n" not in text]


@pytest.mark.parametrize("name", FILES)
def test_mutated_values(tmp_path: Path, name: str) -> None:
    def read(config: EventsConfig) -> tuple[set[str], int]:
        result = checked(config)
        return set(result.events["completion"]), result.counts.rows_in

    fuzz(tmp_path, name, scaled(60), seed=1, read=read)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_mutated_values(tmp_path: Path, name: str) -> None:
    """Read one by one, made into tables together: to write and check a table is what takes long."""
    logs = RawLogs()

    def read(config: EventsConfig) -> tuple[set[str], int]:
        before = logs.rows
        return set(logs.read(config)["completion"]), logs.rows - before

    fuzz(tmp_path, name, 300, seed=2, read=read)
    logs.check_tables()
