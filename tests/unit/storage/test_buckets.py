"""Rows in buckets come back bucket by bucket, sorted ones as if sorted in memory, and no file is left."""

from functools import partial
from hashlib import sha256

import polars as pl
import pytest

from thumbline.pipeline.storage.bucket_sort import BucketSort
from thumbline.pipeline.storage.buckets import (
    MOST_BUCKETS,
    BucketWriter,
    bucket_count,
    buckets_of_ids,
    read_buckets,
)
from thumbline.pipeline.tables import MESSAGES, VOTE


def rows_of(count):
    ids = [sha256(str(number).encode()).hexdigest()[:32] for number in range(count)]
    return pl.DataFrame(
        {"id": ids, "place": range(count), "tokens": [[number] * (number % 5) for number in range(count)]}
    )


def sort_of(path, key=("id",), buckets=16, **options):
    return BucketSort(path, list(key), partial(buckets_of_ids, count=buckets), **options)


@pytest.mark.parametrize("buckets", [16, 256])
def test_rows_by_way_of_files_are_those_sorted_in_memory(tmp_path, buckets):
    rows = rows_of(300)
    with sort_of(tmp_path / "new" / "rows", ("id", "place"), buckets, held_bytes=2_000) as kept:
        for part in rows.iter_slices(37):
            kept.add(part)
        # The last rows come a second time.
        kept.add(rows.tail(20))
        assert (tmp_path / "new" / "rows").stat().st_size > 2_000
        batches = list(kept.batches())
    assert len(batches) == buckets_of_ids(rows["id"], buckets).n_unique()
    assert pl.concat(batches).equals(rows.sort("id"))
    assert list((tmp_path / "new").iterdir()) == []


def test_few_rows_stay_in_memory(tmp_path):
    with sort_of(tmp_path / "rows") as kept:
        kept.add(rows_of(9).reverse())
        assert list(tmp_path.iterdir()) == []
        assert pl.concat(kept.batches()).equals(rows_of(9).sort("id"))
    with sort_of(tmp_path / "rows", held_bytes=0) as kept:
        kept.add(rows_of(0))
        assert list(kept.batches()) == []


def test_the_file_is_gone_after_an_error(tmp_path):
    with pytest.raises(KeyError), sort_of(tmp_path / "rows", held_bytes=1) as kept:
        kept.add(rows_of(50))
        assert (tmp_path / "rows").is_file()
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_gone_where_its_end_finds_no_room(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), sort_of(tmp_path / "rows", held_bytes=0) as rows:
        rows.add(rows_of(3))
        monkeypatch.setattr(BucketWriter, "close", full)
    assert not list(tmp_path.iterdir())


def table(count, start=0):
    rows = rows_of(start + count).slice(start).select("id", "place")
    messages = [[{"role": "user", "content": f"text {number}"}] * (number % 3) for number in range(count)]
    votes = [("up", "down", None)[number % 3] for number in range(count)]
    return rows.with_columns(pl.Series("prompt", messages, MESSAGES), pl.Series("vote", votes, VOTE))


@pytest.mark.parametrize("pass_bytes", [1, 3_000, 1 << 30])
def test_several_files_are_read_as_one_whatever_is_read_at_a_time(tmp_path, pass_bytes):
    files = []
    for number in range(3):
        with BucketWriter(tmp_path / str(number)) as writer:
            for part in table(70, number * 70).iter_slices(30):
                writer.write(part, buckets_of_ids(part["id"], 2))
            files.append(writer.close())
    whole = pl.concat(table(70, number * 70) for number in range(3))
    found = list(read_buckets(files, whole.schema, ["id"], pass_bytes))
    assert (len(found) == 2) == (pass_bytes == 1 << 30)
    # The parts' ranges of ids ascend and do not meet.
    ends = [end for part in found for end in (part["id"].min(), part["id"].max())]
    assert ends == sorted(ends)
    assert sum(part["id"].n_unique() for part in found) == len(whole)
    assert pl.concat(found).sort("id").equals(whole.sort("id"))


def test_no_rows_write_no_file(tmp_path):
    with BucketWriter(tmp_path / "rows") as writer:
        writer.write(table(0), pl.Series([], dtype=pl.Int32))
    assert list(tmp_path.iterdir()) == []
    assert list(read_buckets([writer.close()], table(0).schema)) == []


def test_as_many_buckets_as_the_content_takes():
    assert bucket_count(1_000_000, 1_000_000) == 1
    assert bucket_count(1_000_000, 100_000) == 16
    assert bucket_count(1 << 60, 1) == MOST_BUCKETS
