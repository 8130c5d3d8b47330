"""Shared makers of small, readable inputs."""

import fcntl
import gc
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import settings

from thumbline.pipeline.identity import prompt_id, response_id
from thumbline.pipeline.storage.digests import digest_text
from thumbline.pipeline.tables import polars_schema

# The same examples every time: a run that fails can be repeated, and one that passes passes again. Half of them as it
# comes, so that all tests end within the hour on two cores; all with `--hypothesis-profile thorough`.
settings.register_profile("thorough", derandomize=True, deadline=None, max_examples=100)
settings.register_profile("repeatable", settings.get_profile("thorough"), max_examples=50)
# A fifth of the examples, for `make test-fast`; a test that needs more or fewer says so by `tests.laws.examples`.
settings.register_profile("fast", settings.get_profile("repeatable"), max_examples=20)
settings.load_profile("repeatable")

_HEAVY = ("heavy", "vllm", "demo", "gpu")
# More than any of them takes.
_HEAVY_BYTES = 10 << 30


@pytest.fixture(autouse=True)
def _few_heavy_tests_at_a_time(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """More heavy tests at once, in several processes, than the machine has memory for wait for each other."""
    if not any(request.node.get_closest_marker(name) for name in _HEAVY):
        yield
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    place = worker % max(1, memory // _HEAVY_BYTES)
    # All workers' folders lie in one; where there are none, nobody else waits.
    with (tmp_path_factory.getbasetemp().parent / f"heavy-{place}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def _own_log() -> None:
    """The command takes our log to the terminal, and benchmarks turn logs off; a test after them reads it again."""
    logging.disable(logging.NOTSET)
    logger = logging.getLogger("thumbline")
    logger.propagate = True
    logger.handlers.clear()


def pytest_collection_finish() -> None:
    """Leave the imported libraries out of garbage collection: engines collect when they close, a second each time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Some libraries print what they find leaked at exit, after the line that pytest ends with."""
    gc.unfreeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many mutated files the fuzzer reads."""
    parser.addoption(
        "--fuzz-files", type=int, default=420, help="mutated files that property/test_ingest_fuzz.py reads"
    )
    parser.addoption("--soak", action="store_true", help="run the tests marked soak, and no others: hours of faults")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Campaigns of hours run when they are asked for, and then alone."""
    soaking = bool(config.getoption("--soak"))
    wanted = [item for item in items if (item.get_closest_marker("soak") is not None) == soaking]
    kept = frozenset(wanted)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = wanted
    # Files with long tests first, so that no worker is left alone with one at the end.
    long = {item.path for item in items if any(item.get_closest_marker(name) for name in ("slow", *_HEAVY))}
    items.sort(key=lambda item: item.path not in long)


_MADE = ("prompt_id", "response_id")
_START = datetime(2026, 1, 1, tzinfo=UTC)


def event(
    prompt: str, completion: str, vote: str, *, user: str | None = "u1", at: int | None = 0, **other: Any
) -> dict[str, Any]:
    """One row of table `events`: `at` is minutes after a fixed start."""
    row = {
        "source_file": "log.jsonl",
        "source_line": 1,
        "format": "test",
        "conversation_id": None,
        "user_id": user,
        "model": "m",
        "prompt": [{"role": "user", "content": prompt}],
        "tools": None,
        "completion": completion,
        "completion_extra": None,
        "vote": vote,
        "comparison_id": None,
        "comparison_kind": None,
        "propensity": None,
        "position": None,
        "created_at": None if at is None else _START + timedelta(minutes=at),
        "deliveries": 1,
    } | other
    row["event_id"] = digest_text(*(str(value) for value in row.values()))
    return row


def events_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as table `events`, in its order."""
    schema = polars_schema("events", optional=True)
    frame = pl.DataFrame(rows, schema={name: dtype for name, dtype in schema.items() if name not in _MADE})
    named = frame.with_columns(prompt_id=prompt_id(pl.col("prompt"), pl.col("tools"))).with_columns(
        response_id=response_id(pl.col("prompt_id"), pl.col("completion"), pl.col("completion_extra"))
    )
    return named.select(schema.names()).sort("prompt_id", "response_id", "event_id")
