"""Rows sorted by way of files come out as rows sorted in memory, and no file is left."""

from hashlib import sha256

import polars as pl
import pytest

from thumbline.pipeline.storage import buckets
from thumbline.pipeline.storage.buckets import SortedById


def rows_of(count):
    ids = [sha256(str(number).encode()).hexdigest()[:32] for number in range(count)]
    return pl.DataFrame(
        {"id": ids, "place": range(count), "tokens": [[number] * (number % 5) for number in range(count)]}
    )


@pytest.mark.parametrize("digits", [1, 2])
def test_rows_by_way_of_files_are_those_sorted_in_memory(tmp_path, monkeypatch, digits):
    rows = rows_of(300)
    monkeypatch.setattr(buckets, "_HELD_BYTES", 2_000)
    with SortedById(tmp_path / "rows", ["id", "place"], digits=digits) as spilled:
        for part in rows.iter_slices(37):
            spilled.add(part)
        # The last rows come a second time.
        spilled.add(rows.tail(20))
        assert len(list((tmp_path / "rows").iterdir())) > 1
        batches = list(spilled.batches())
    assert len(batches) == len(set(rows["id"].str.head(digits)))
    assert pl.concat(batches).equals(rows.sort("id"))
    assert list(tmp_path.iterdir()) == []


def test_few_rows_stay_in_memory(tmp_path):
    with SortedById(tmp_path / "rows", ["id"], digits=1) as kept:
        kept.add(rows_of(9).reverse())
        assert list(tmp_path.iterdir()) == []
        assert pl.concat(kept.batches()).equals(rows_of(9).sort("id"))


def test_files_are_gone_after_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(buckets, "_HELD_BYTES", 1)
    with pytest.raises(KeyError), SortedById(tmp_path / "rows", ["id"], digits=1) as kept:
        kept.add(rows_of(50))
        assert (tmp_path / "rows").is_dir()
        raise KeyError
    assert list(tmp_path.iterdir()) == []
