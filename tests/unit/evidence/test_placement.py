"""Where groups go: too large ones to train, the others by the shares of the rows; and the line where those are off."""

import polars as pl
import pytest

from thumbline.pipeline.config import SplitsConfig
from thumbline.pipeline.evidence.placement import is_too_large, off_share, off_shares_line, placed, shares
from thumbline.pipeline.identity import as_number, digest


def table(*sizes):
    """Groups of so many rows, later ones newer."""
    frame = pl.DataFrame({"n_rows": sizes}).with_row_index("number")
    name = as_number(digest(pl.col("number").cast(pl.String)))
    return frame.select("n_rows", group_id=name, newest_event_at=pl.col("number").cast(pl.Int64))


def with_splits(groups, **config):
    settings = SplitsConfig(**config)
    return groups.with_columns(placed(groups, settings)), settings


@pytest.mark.parametrize("method", ["hash", "time"])
@pytest.mark.parametrize("place", [0, 300, 599])
def test_a_giant_group_trains_and_the_others_make_up_for_it(method, place):
    sizes = [10] * 600
    sizes[place] = 4000
    for salt in "abcde":
        found, config = with_splits(table(*sizes), method=method, salt=salt)
        assert found["split"][place] == "train"
        if method == "time":
            assert off_share(shares(found), config) < 0.002
    # 40% of the rows train: of the other 60%, a third and a sixth are held out, within what chance does to 600 groups.
    assert shares(found)["test"] == pytest.approx(0.2, abs=0.04)


def test_a_group_with_more_rows_than_its_split_is_to_have_trains():
    # Of 40 rows 10 are more than the 20% of the test, whatever the hash says.
    for salt in "abcdefgh":
        assert with_splits(table(*[1] * 30, 10), salt=salt)[0]["split"][30] == "train"
    assert {with_splits(table(*[1] * 30, 5), salt=salt)[0]["split"][30] for salt in "abcdefgh"} != {"train"}


def test_groups_of_equal_size_are_never_too_large():
    for count, rows in ((10, 10), (1000, 50), (100_000, 1)):
        assert not table(*[rows] * count).select(is_too_large(SplitsConfig())).to_series().any()


def test_the_hash_of_a_group_alone_places_it_where_none_is_too_large():
    first, _ = with_splits(table(*[3] * 200))
    more, _ = with_splits(table(*[3] * 200, *[5] * 300))
    assert first["split"].to_list() == more["split"].to_list()[:200]


def test_nothing_is_said_where_shares_are_near():
    found, config = with_splits(table(*[2] * 20_000))
    assert off_shares_line(found, config) == ""
    assert off_share(shares(found), config) <= 0.02


def test_shares_that_are_off_are_said_with_the_reason_and_a_salt_that_meets_them():
    found, config = with_splits(table(*[10] * 60), salt="x")
    line = off_shares_line(found, config)
    share = shares(found)
    assert f"Of the rows {share['test']:.1%} are test where 20% was asked for" in line
    assert "60 groups of rows that belong together are too few" in line
    salt = line.split("splits.salt: ")[1].split(" ")[0]
    nearer, other = with_splits(table(*[10] * 60), salt=salt)
    assert off_shares_line(nearer, other) == ""


def test_a_line_says_how_much_cannot_be_held_out_and_when_no_salt_helps():
    line = off_shares_line(*with_splits(table(900, *[1] * 100)))
    assert "groups too large to be held out have 90.0% of the rows (1 of 101 groups)" in line
    assert "None of 20 other salts comes within 2 points." in line
    by_time = off_shares_line(*with_splits(table(900, *[1] * 100), method="time"))
    assert "(1 of 101 groups)" in by_time
    assert "salt" not in by_time


def test_shares_asked_for_as_nothing_are_nothing():
    found, config = with_splits(table(*[1] * 50, 40), validation=0.0, test=0.0)
    assert found["split"].unique().to_list() == ["train"]
    assert off_shares_line(found, config) == ""
