"""Counts over files of numbers, whatever share of them is looked at together."""

from pathlib import Path

import numpy as np
import pytest

from thumbline.pipeline.ingest.distinct import count_contradicted, count_distinct
from thumbline.pipeline.storage.arrays import ArrayFile


def write(path: Path, *parts: np.ndarray) -> None:
    with ArrayFile(path, np.uint64) as file:
        for part in parts:
            file.append(part)


@pytest.mark.parametrize("share_rows", [1, 7, 1_000])
def test_counts_are_those_of_sets(tmp_path: Path, share_rows: int) -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 12, (60, 2)).astype(np.uint64)
    paths = [tmp_path / name for name in ("a", "b", "none")]
    for path, part in zip(paths, (rows[:20], rows[20:]), strict=False):
        write(path, part[:5], part[5:])
    seconds = {first: {second for other, second in rows.tolist() if other == first} for first, _ in rows.tolist()}
    assert count_contradicted(paths, share_rows) == sum(len(found) > 1 for found in seconds.values())
    single = tmp_path / "single"
    write(single, rows[:, :1])
    assert count_distinct([single], share_rows) == len(seconds)


def test_no_files_hold_nothing(tmp_path: Path) -> None:
    write(tmp_path / "empty", np.empty((0, 2), dtype=np.uint64))
    assert count_distinct([]) == count_contradicted([tmp_path / "empty"]) == 0
