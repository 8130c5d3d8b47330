"""Likeness of texts of any length: all edits of short ones, and of long ones those found on one way through both."""

import random
import string

import polars as pl
import pytest
from rapidfuzz.distance import Indel

from thumbline.pipeline.evidence import similarity as module
from thumbline.pipeline.evidence.similarity import text_similarity


def similarity(*pairs: tuple[str | None, str | None], least: float = 0.0) -> list[float]:
    frame = pl.DataFrame(pairs, schema={"ours": pl.String, "theirs": pl.String}, orient="row")
    return frame.select(text_similarity(pl.col("ours"), pl.col("theirs"), least)).to_series().to_list()


def text(length: int, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices(string.ascii_lowercase + " ", k=length))


def edited(of: str, every: int) -> str:
    return "".join(letter if place % every else "#" for place, letter in enumerate(of, 1))


def test_short_texts_have_the_fewest_edits() -> None:
    # abcd to abd takes one deletion, 7 characters in all; nothing is alike in the second.
    assert similarity(("abcd", "abd"), ("ab", "cd"), ("", ""), ("same", "same")) == [1 - 1 / 7, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("least", [0.5, 0.9, 0.95, 1.0])
def test_from_the_least_on_texts_are_as_alike_as_they_are(least: float) -> None:
    ours = text(400)
    # The last two lie on both sides of 0.95, and one on it.
    theirs = [ours, text(400, 1), *(edited(ours, every) for every in (2, 5, 10)), ours[:362], ours[:361], ours[:363]]
    pairs = [(ours, other) for other in theirs]
    for found, exact in zip(similarity(*pairs, least=least), similarity(*pairs), strict=True):
        assert found == (exact if exact >= least else 0.0)


def test_what_is_the_least_but_for_rounding_is_not_below_it() -> None:
    # Of these all but the last are above the least by the last bit, and the last is equal to it.
    fractions = [("aa", "a", 2 / 3), ("a" * 5, "a", 1 / 3), ("a" * 17, "aaa", 0.3), ("aaa", "aa", 0.8)]
    for ours, theirs, least in fractions:
        (exact,) = similarity((ours, theirs))
        assert exact >= least and similarity((ours, theirs), least=least) == [exact]


@pytest.mark.parametrize("every", [20, 100, 1_000])
def test_edits_all_over_a_long_text_are_all_found(every: int) -> None:
    ours = text(50_000)
    (found,) = similarity((ours, edited(ours, every)))
    assert found == pytest.approx(1 - 1 / every, abs=1e-12)


def test_texts_that_move_against_each_other_are_followed() -> None:
    ours = text(60_000)
    theirs = ours[:9_000] + text(6_000, 1) + ours[9_000:40_000] + ours[43_000:] + "end"
    assert similarity((ours, theirs), (theirs, ours)) == pytest.approx([Indel.normalized_similarity(ours, theirs)] * 2)


def test_long_texts_are_never_found_more_alike_than_they_are() -> None:
    pairs = [(text(40_000, seed), text(45_000, seed + 1)) for seed in (0, 2)]
    pairs.append((text(40_000), text(20_000, 9) + edited(text(40_000), 7)))
    for found, (ours, theirs) in zip(similarity(*pairs), pairs, strict=True):
        exact = Indel.normalized_similarity(ours, theirs)
        assert exact - 0.2 < found <= exact + 1e-12
    assert similarity(("", text(90_000)), (text(90_000), text(90_000))) == [0.0, 1.0]


def test_work_grows_with_the_length_and_not_with_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    step, looked_at = module._step, [0]

    def counted(ours: str, theirs: str) -> object:
        looked_at[0] += len(ours) * len(theirs)
        return step(ours, theirs)

    monkeypatch.setattr(module, "_step", counted)

    def work(length: int) -> int:
        looked_at[0] = 0
        similarity((text(length), text(length, 1)))
        return looked_at[0]

    # Four times the length: 5 times the cells that are compared, since ends are looked at in another way, and not 16.
    assert 0 < work(400_000) < 6 * work(100_000) < 6 * 100_000**2 / 2
