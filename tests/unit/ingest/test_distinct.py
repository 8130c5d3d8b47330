"""Counts over files of numbers, whatever share of them is looked at together."""

from pathlib import Path

import numpy as np
import pytest

from thumbline.pipeline.ingest import distinct


@pytest.mark.parametrize("at_a_time", [1, 7, 1_000])
def test_counts_are_those_of_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(distinct, "_AT_A_TIME", at_a_time)
    random = np.random.default_rng(0)
    rows = random.integers(0, 12, (60, 2)).astype(np.uint64)
    paths = [tmp_path / name for name in ("a", "b", "none")]
    for path, part in zip(paths, (rows[:20], rows[20:]), strict=False):
        distinct.append_numbers(path, part[:5])
        distinct.append_numbers(path, part[5:])
    seconds = {first: {second for other, second in rows.tolist() if other == first} for first, _ in rows.tolist()}
    assert distinct.count_contradicted(paths) == sum(len(found) > 1 for found in seconds.values())
    single = tmp_path / "single"
    distinct.append_numbers(single, rows[:, :1])
    assert distinct.count_distinct([single]) == len(seconds)


def test_no_files_hold_nothing(tmp_path: Path) -> None:
    distinct.append_numbers(tmp_path / "empty", np.empty((0, 2), dtype=np.uint64))
    assert distinct.count_distinct([]) == distinct.count_contradicted([tmp_path / "empty"]) == 0
