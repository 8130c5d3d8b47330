"""Many rows of a Parquet log at a time or each exactly: the same events and the same rejects."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.ingest import fast_parquet
from thumbline.pipeline.ingest.frames import RawBatch, read_unit
from thumbline.pipeline.ingest.plan import plan, units
from thumbline.pipeline.reading.inputs import expand_inputs
from thumbline.pipeline.reading.remarks import Remarks

TEXTS = ["x", "", " ", "\x1c", "a\x00b", "a:b", "é\U0001f642", None]
VOTES = ["up", "down", "copied", "chosen", None, "meh", "", "UP "]
TIMES = ["2026-01-01T00:00:00Z", "2026-01-01", "", None, "no", "1800-01-01T00:00:00Z"]


def log(rows: int, seed: int = 0) -> dict[str, list[Any]]:
    random = np.random.default_rng(seed)

    def drawn(values: list[Any]) -> list[Any]:
        return [values[int(place)] for place in random.integers(0, len(values), rows)]

    usual = [f"text {number}" for number in range(20)]
    return {
        "id": list(range(rows)),
        "prompt": drawn(usual + TEXTS),
        "response": drawn(usual + TEXTS),
        "feedback": drawn(VOTES),
        "timestamp": drawn(TIMES),
        "user_id": drawn(["ann", "bob", None, ""]),
        "score": drawn([0.5, float("nan"), None]),
        "system": drawn([None, "", " ", "Be: brief."]),
        "note": drawn(["fine", "a\x00b", None]),
    }


def both_ways(path: Path, unit_bytes: int = 1 << 30, **config: Any) -> list[RawBatch]:
    settings = EventsConfig.model_validate({"inputs": [str(path)], "format": "thumbs_jsonl", **config})
    plans = plan(expand_inputs(settings.inputs), settings)
    assert plans[0].fast is not None
    found = []
    for entry, size in ((plans[0], unit_bytes), (plans[0]._replace(fast=None), 1 << 30)):
        events, rejects, records, before, remarks = [], [], 0, 0, Remarks()
        for unit in units([entry], size):
            lines = 0
            for batch in read_unit(unit, settings):
                events.append(batch.events.with_columns(pl.col("source_line") + before))
                rejects.append(batch.rejects.with_columns(pl.col("source_line") + before))
                records += batch.records
                remarks.update(batch.remarks)
                lines = batch.lines
            before += lines
        found.append(
            RawBatch(
                entry.source.name,
                pl.concat(events).sort("source_line"),
                pl.concat(rejects).sort("source_line"),
                records,
                remarks=remarks,
            )
        )
    return found


def check(path: Path, **config: Any) -> RawBatch:
    fast, exact = both_ways(path, **config)
    assert fast.rejects.rows() == exact.rejects.rows()
    assert fast.events.rows() == exact.events.rows()
    assert fast.records == exact.records
    assert fast.remarks == exact.remarks
    return fast


@pytest.mark.parametrize("group", [1_000, 170])
def test_any_rows(tmp_path: Path, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame(log(1_000), strict=False).write_parquet(path, row_group_size=group)
    read = check(path)
    assert read.events.height > 100 < read.rejects.height
    check(path, unit_bytes=2_000)
    check(path, max_line_bytes=90)
    monkeypatch.setattr(fast_parquet, "_BATCH_ROWS", 64)
    check(path, unit_bytes=4_000)
    monkeypatch.setattr(fast_parquet, "_BATCH_BYTES", 6_000)
    check(path)


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ns"), pa.timestamp("us", tz="UTC"), pa.timestamp("ms", tz="Asia/Tokyo")]
)
def test_times_of_any_type(tmp_path: Path, kind: pa.DataType) -> None:
    times = [datetime(2026, 1, 1, 1, 2, 3, 999_000, tzinfo=UTC), datetime(1989, 12, 31, tzinfo=UTC), None]
    times += [datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC)]
    table = pa.table(
        {
            "prompt": ["p"] * len(times),
            "response": ["r"] * len(times),
            "vote": ["up"] * len(times),
            "time": pa.array(times, pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us")).cast(kind, safe=False),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    read = check(tmp_path / "log.parquet")
    assert read.events["created_at"].null_count() == 3


def test_damage_costs_what_it_costs_the_exact_way(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    random = np.random.default_rng(5)
    rows = {name: [random.bytes(20).hex() for _ in range(3_000)] for name in ("prompt", "response")}
    pl.DataFrame(rows | {"feedback": ["up"] * 3_000}).write_parquet(path, row_group_size=1_000, compression="zstd")
    offset = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    read = check(path)
    assert read.events.height == 2_000
    check(path, unit_bytes=20_000)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    texts = pa.array([b"p", b"\xff", b"q"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"prompt": texts, "response": ["r"] * 3, "vote": ["up"] * 3}), path)
    read = check(path)
    assert read.rejects["reason"].to_list() == ["invalid_utf8"]
