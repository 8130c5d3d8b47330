"""The same tables, byte for byte, however the work is cut: workers, units, partitions, parts, order of files."""

from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from tests.benchmarks.feedback_log import feedback_lines
from thumbline.pipeline import line
from thumbline.pipeline.config import EventsConfig, RunConfig, build_config
from thumbline.pipeline.context import DEFAULT_SIZES, BatchSizes
from thumbline.pipeline.ingest.plan import plan, units
from thumbline.pipeline.reading.inputs import expand_inputs

PREPARED: Final = ("events", "responses", "unpaired", "pairs", "splits")
SHARDS: Final = ("a.jsonl", "b.jsonl", "c.csv", "d.jsonl")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = list(feedback_lines(900, seed=3))
    # A line that is delivered in two files, a prompt with very many rows, and files that end without a line end.
    Path("a.jsonl").write_bytes(b"".join(lines[:500]))
    Path("b.jsonl").write_bytes(b"".join([*lines[450:], *lines[5:6] * 3]).rstrip(b"\n"))
    Path("c.csv").write_bytes(b"event_id,prompt,response,feedback\nx1,p,r,thumbs_up\nx2,p,s,thumbs_down\nbad\n")
    hot = b'{"event_id": "h%d", "prompt": "hi", "response": "r%d", "feedback": "thumbs_up"}\n'
    Path("d.jsonl").write_bytes(b"".join(hot % (index, index % 40) for index in range(600)))
    return tmp_path


def prepared(
    name: str, inputs: tuple[str, ...] = SHARDS, sizes: BatchSizes = DEFAULT_SIZES, **settings: Any
) -> dict[str, str]:
    """Digest of every table up to the splits, and the stages' counts and notes."""
    document = {"name": name, "model": "m", "events": {"inputs": list(inputs), **settings}}
    config: RunConfig = build_config(document, origin="test")
    found: dict[str, str] = {}
    for done in line.run(config, line.select(None, "splits"), sizes=sizes):
        found |= {table: record.sha256 for table, record in done.manifest.outputs.items()}
        found[f"{done.stage.name} counts"] = str(done.manifest.counts)
        found[f"{done.stage.name} notes"] = str(done.manifest.notes)
    return found


@pytest.mark.slow
def test_however_the_work_is_cut() -> None:
    whole = prepared("whole", workers=1)
    assert prepared("cut", inputs=SHARDS[::-1], workers=1, unit_bytes=70_001, partition_bytes=40_000) == whole
    # Passes over a bucket, writes to buckets, and parts of a table, each far smaller than the data.
    tiny = BatchSizes(pass_bytes=50_000, read_bytes=100_000, part_rows=211, process_bytes=1)
    assert prepared("tiny", sizes=tiny, workers=1, unit_bytes=323_457, partition_bytes=300_000) == whole
    assert prepared("processes", sizes=tiny, workers=2, unit_bytes=400_003) == whole


def test_row_groups_do_not_depend_on_the_parts() -> None:
    whole = prepared("whole", sizes=BatchSizes(row_group_rows=200), workers=1)
    cut = BatchSizes(row_group_rows=200, part_rows=433)
    assert prepared("parts", sizes=cut, workers=1, partition_bytes=200_000) == whole


def test_row_groups_of_one_parquet_file_are_read_side_by_side() -> None:
    pl.read_ndjson("d.jsonl").write_parquet("d.parquet", row_group_size=100)
    config = EventsConfig(inputs=("d.parquet",))
    plans = plan(expand_inputs(config.inputs), config)
    assert [unit.part for unit in units(plans, 1 << 30)] == [None]
    parts = [unit.part for unit in units(plans, 1)]
    assert [part[:2] for part in parts if part] == [(group, group + 1) for group in range(6)]
    whole = prepared("whole", inputs=("d.parquet",), workers=1)
    assert prepared("processes", inputs=("d.parquet",), workers=2, unit_bytes=1) == whole


def test_settings_cut_the_work() -> None:
    """The knobs that change no table do change what is held at a time."""
    config = EventsConfig(inputs=("a.jsonl",))
    plans = plan(expand_inputs(config.inputs), config)
    assert len(units(plans, 1 << 30)) == 1
    parts = [unit.part for unit in units(plans, 100_000)]
    assert len(parts) == -(-Path("a.jsonl").stat().st_size // 100_000)


def test_how_many_read_and_how_much_at_a_time_is_no_reason_to_read_again() -> None:
    document = {"name": "run", "model": "m", "events": {"inputs": ["d.jsonl"], "workers": 1}}
    first = list(line.run(build_config(document, origin="test"), line.select(None, "events")))
    document["events"] |= {"workers": 2, "unit_bytes": 1_000, "partition_bytes": 1_000}
    again = list(line.run(build_config(document, origin="test"), line.select(None, "events")))
    assert [done.action for done in (*first, *again)] == ["ran", "skipped"]


def test_nothing_is_left_of_the_buckets() -> None:
    prepared("run", workers=1)
    assert sorted(path.name for path in Path("runs/run/events").iterdir()) == [
        "events.parquet",
        "manifest.json",
        "rejects.parquet",
        "texts.parquet",
    ]
