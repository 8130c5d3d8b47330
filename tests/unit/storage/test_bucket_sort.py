"""Rows in the order of a key, by way of a file that never stays."""

from pathlib import Path

import polars as pl
import pytest

from thumbline.pipeline.storage.bucket_sort import BucketSort
from thumbline.pipeline.storage.buckets import BucketWriter


def sort(path: Path, held_bytes: int) -> BucketSort:
    return BucketSort(path, ["index"], lambda indices: indices // 10, held_bytes=held_bytes)


@pytest.mark.parametrize("held_bytes", [0, 1 << 20])
def test_rows_come_in_order_and_once_each(tmp_path: Path, held_bytes: int) -> None:
    path = tmp_path / "rows.buckets"
    with sort(path, held_bytes) as rows:
        for indices in ([25, 3], [], [17, 3], [8]):
            rows.add(pl.DataFrame({"index": indices}, schema={"index": pl.Int64}))
        assert pl.concat(rows.batches())["index"].to_list() == [3, 8, 17, 25]
        assert path.exists() == (held_bytes == 0)
    assert not list(tmp_path.iterdir())


def test_no_file_stays_where_its_end_finds_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: BucketWriter) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), sort(tmp_path / "rows.buckets", 0) as rows:
        rows.add(pl.DataFrame({"index": [1]}))
        monkeypatch.setattr(BucketWriter, "close", full)
    assert not list(tmp_path.iterdir())
