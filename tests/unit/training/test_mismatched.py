"""KTO's mismatched rows: another prompt, another text, the same split; however the rows are cut."""

from hashlib import sha256

import numpy as np
import polars as pl
import pytest

from thumbline.pipeline.tables import SPLIT
from thumbline.pipeline.training.mismatched import ANSWER, Exchange, partner_rows, partners


def digest_of(text):
    return sha256(text.encode()).hexdigest()[:32]


def table(count, *, texts=40, prompts=30, seed=0):
    draw = np.random.default_rng(seed)
    prompt = [digest_of(f"p{number}") for number in draw.integers(prompts, size=count)]
    # Prompts of one split, as the stage of splits leaves them.
    split = [["train", "train", "validation", "test"][int(one, 16) % 4] for one in prompt]
    numbers = draw.integers(texts, size=count).tolist()
    return pl.DataFrame(
        {
            "response_id": [digest_of(f"r{number}") for number in range(count)],
            "prompt_id": prompt,
            "completion": [f"text {number // 2}" for number in numbers],
            # Texts of one number differ in what goes along with them.
            "completion_extra": [[None, '{"name":"x"}'][number % 2] for number in numbers],
            "split": pl.Series(split, dtype=SPLIT),
        }
    )


def given(rows, sizes, seed, folder, **options):
    """The rows that get a completion, with it; passed by in parts of these sizes."""
    starts = np.cumsum([0, *sizes])
    parts = [rows.slice(start, size) for start, size in zip(starts, [*sizes, rows.height], strict=True)]
    with Exchange(partners([partner_rows(part) for part in parts], seed), folder, **options) as exchange:
        for part in parts:
            exchange.give(part)
        return pl.concat(exchange.take(part) for part in parts)


def test_partners_are_of_another_prompt_another_text_and_the_same_split():
    rows = table(400)
    found = partners([partner_rows(rows)], 3)
    takes = found >= 0
    assert takes.all()
    own, other = rows.filter(pl.Series(takes)), rows[found[takes]]
    for column, is_equal in (("prompt_id", False), ("split", True)):
        assert set((own[column] == other[column]).to_list()) == {is_equal}, column
    same = [(own[name].eq_missing(other[name])) for name in ANSWER]
    assert not (same[0] & same[1]).any()
    assert same[0].any()


def test_the_draw_depends_on_rows_and_seed_not_on_their_order():
    rows = table(200)
    turned = rows.reverse()
    names, others = rows["response_id"].to_numpy(), turned["response_id"].to_numpy()
    found = partners([partner_rows(rows)], 0)
    again = partners([partner_rows(turned.head(7)), partner_rows(turned.slice(7))], 0)
    assert dict(zip(names[found >= 0], names[found[found >= 0]], strict=True)) == dict(
        zip(others[again >= 0], others[again[again >= 0]], strict=True)
    )
    assert not np.array_equal(partners([partner_rows(rows)], 1), found)


def test_a_row_without_a_possible_partner_has_none():
    alone = table(20, prompts=1).with_columns(split=pl.lit("train", dtype=SPLIT))
    assert set(partners([partner_rows(alone)], 0)) == {-1}
    same = table(20, texts=1).with_columns(split=pl.lit("train", dtype=SPLIT))
    assert set(partners([partner_rows(same)], 0)) == {-1}
    assert len(partners([partner_rows(alone.clear())], 0)) == 0


@pytest.mark.parametrize("bucket_rows", [1, 9, 1000])
@pytest.mark.parametrize("sizes", [(), (0, 50, 1, 0, 60), (199,)])
def test_every_row_takes_its_partners_completion_however_it_is_cut(tmp_path, sizes, bucket_rows):
    rows = table(200)
    found = partners([partner_rows(rows)], 5)
    answers = rows.select(ANSWER)[np.maximum(found, 0)]
    expected = rows.with_columns(answers).filter(pl.Series(found >= 0))
    options = {"bucket_rows": bucket_rows, "held_bytes": bucket_rows}
    assert given(rows, sizes, 5, tmp_path / "texts", **options).equals(expected)
    assert list(tmp_path.iterdir()) == []
