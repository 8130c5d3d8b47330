"""Numbers in flat files come back as they were written, and lists by the place of their rows."""

import numpy as np
import pytest

from thumbline.pipeline.storage.arrays import ArrayFile, RaggedArray, RaggedPart, mapped, shares


def test_numbers_come_back_and_an_empty_or_missing_file_has_none(tmp_path):
    with ArrayFile(tmp_path / "new" / "numbers", np.int32) as file:
        file.append(np.arange(5))
        file.append(np.arange(10, 20)[::3])
    assert mapped(tmp_path / "new" / "numbers", np.int32).tolist() == [0, 1, 2, 3, 4, 10, 13, 16, 19]
    with ArrayFile(tmp_path / "empty", np.int32):
        pass
    assert mapped(tmp_path / "empty", np.int32).size == mapped(tmp_path / "none", np.int32).size == 0


def test_a_file_that_a_killed_run_left_is_begun_anew(tmp_path):
    for _ in range(2):
        with ArrayFile(tmp_path / "numbers", np.int32) as file:
            file.append(np.arange(3))
    assert mapped(tmp_path / "numbers", np.int32).tolist() == [0, 1, 2]


def test_lists_are_found_by_their_rows_in_whatever_order_they_came(tmp_path):
    lists = [[1, 2, 3], [], [4], [5, 6]]
    parts = [RaggedPart(np.array(rows), np.concatenate([lists[row] for row in rows])) for rows in ([3, 1], [2, 0])]
    ragged = RaggedArray(tmp_path / "lists", np.int32, np.array([len(row) for row in lists]), iter(parts))
    assert [ragged.at(row).tolist() for row in range(4)] == lists
    assert len(ragged.values) == 6


@pytest.mark.parametrize("share_rows", [1, 9, 1_000])
def test_shares_have_every_row_once_and_no_first_number_twice(tmp_path, share_rows):
    rows = np.random.default_rng(0).integers(0, 9, (50, 2)).astype(np.uint64)
    with ArrayFile(tmp_path / "rows", np.uint64) as file:
        file.append(rows)
    found = list(shares([tmp_path / "rows", tmp_path / "none"], 2, share_rows))
    assert sorted(map(tuple, np.concatenate(found).tolist())) == sorted(map(tuple, rows.tolist()))
    firsts = [set(share[:, 0].tolist()) for share in found]
    assert sum(map(len, firsts)) == len(set().union(*firsts))
