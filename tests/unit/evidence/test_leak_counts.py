"""Texts that splits share are counted on disk as they are in memory, and as sets of Python count them."""

import numpy as np
import polars as pl
import pytest

from thumbline.pipeline.evidence import leak_counts
from thumbline.pipeline.evidence.leak_counts import LeakCounts, LeakKeys, key_numbers, masks_of
from thumbline.pipeline.tables import LEAK_TEXT, SPLIT

SPLITS = SPLIT.categories.to_list()
KINDS = LEAK_TEXT.categories.to_list()


def keys_of(rows):
    frame = pl.DataFrame(rows, schema={"place": pl.UInt32, "text": LEAK_TEXT, "key": pl.UInt128}, orient="row")
    return frame.select("text", "key", "place")


@pytest.fixture(params=[1, 7, 1_000_000])
def share_rows(request, monkeypatch):
    monkeypatch.setattr(leak_counts, "_SHARE_ROWS", request.param)


@pytest.mark.usefixtures("share_rows")
def test_counts_are_those_of_sets(tmp_path):
    random = np.random.default_rng(3)
    owners = [None if number % 4 == 3 else SPLITS[number % 4] for number in range(50)]
    # Some keys have one half in common with others.
    numbers = [(int(high) << 64) + int(low) for high in random.integers(2**63, size=6) for low in range(6)]
    parts = [
        [
            (int(p), KINDS[k], numbers[i])
            for p, k, i in zip(*(random.integers(m, size=90) for m in (25, 4, 36)), strict=True)
        ]
        for _ in range(2)
    ]
    held = {"mine": {("prompt", number) for number in numbers[:9]} | {("prompt", 5), ("completion", numbers[2])}}
    sets = {name: keys_of([(0, *entry) for entry in entries]).drop("place") for name, entries in held.items()}
    keys = LeakKeys(tmp_path / "keys")
    for number, part in enumerate(parts):
        keys.add(key_numbers(keys_of(part)), 25 * number)
    found = keys.counted(masks_of(pl.Series(owners, dtype=SPLIT)), sets)
    keys.close()
    assert list(tmp_path.iterdir()) == []
    for part, before in zip(parts, (0, 25), strict=True):
        for place, text, key in part:
            if (owner := owners[before + place]) is not None:
                held.setdefault(owner, set()).add((text, key))
    for text in KINDS:
        own = {name: {entry for entry in entries if entry[0] == text} for name, entries in held.items()}
        for right, entries in own.items():
            assert found.texts(right, text) == len(entries)
            for left in SPLITS:
                assert found.shared(left, right, text) == len(own[left] & entries)


def test_nothing_is_shared_where_there_is_nothing():
    empty = LeakCounts({"mine": keys_of([]).drop("place")})
    empty.add(key_numbers(keys_of([])), masks_of(pl.Series([], dtype=SPLIT)))
    assert (empty.texts("train", "prompt"), empty.texts("mine", "prompt")) == (0, 0)
    assert empty.shared("train", "mine", "prompt") == empty.shared("train", "test", "prompt") == 0


def test_a_file_of_a_killed_process_is_not_counted(tmp_path):
    (tmp_path / "keys").write_bytes(b"12345678" * 3)
    keys = LeakKeys(tmp_path / "keys")
    assert keys.counted(masks_of(pl.Series(["train"], dtype=SPLIT)), {}).texts("train", "prompt") == 0
