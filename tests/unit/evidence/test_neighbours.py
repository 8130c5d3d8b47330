import sys

import numpy as np
import polars as pl
import pytest

from thumbline.pipeline.errors import MissingDependencyError
from thumbline.pipeline.evidence.neighbours import near_links, near_matches, signatures


def signed(texts):
    table = pl.LazyFrame({"id": [f"t{place:04d}" for place in range(len(texts))], "text": texts})
    return signatures(table).collect()


def jaccard(left, right):
    shingles = [{text[start : start + 5] for start in range(len(text) - 4)} for text in (left, right)]
    return len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])


def random_texts(count, seed=0):
    draw = np.random.default_rng(seed)
    words = ["bean", "soil", "water", "garden", "sun", "wall", "seed", "spring", "root", "leaf", "stone", "path"]
    return [" ".join(draw.choice(words, 25)) for _ in range(count)]


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(MissingDependencyError, match=r"needs rensa, .*pip install 'thumbline\[neardup\]'"):
        signed(["x"])


def test_signatures_estimate_the_jaccard_similarity():
    pytest.importorskip("rensa")
    texts = random_texts(40)
    texts += [text.replace("bean", "pea", 1) for text in texts[:20]]
    matrix = signed(texts)["signature"].to_numpy()
    errors = []
    for left, right in [(place, place + 40) for place in range(20)] + [(place, place + 1) for place in range(20)]:
        errors.append((matrix[left] == matrix[right]).mean() - jaccard(texts[left], texts[right]))
    assert np.abs(np.mean(errors)) < 0.02
    assert np.sqrt(np.mean(np.square(errors))) < 0.06


def test_near_duplicates_are_linked_and_others_are_not():
    pytest.importorskip("rensa")
    texts = random_texts(60)
    copies = [f"{text} indeed" for text in texts[:10]]
    links = near_links(signed([*texts, *copies]), 0.8)
    assert links.rows() == [(f"t{place:04d}", f"t{place + 60:04d}") for place in range(10)]


def test_case_and_punctuation_do_not_matter():
    pytest.importorskip("rensa")
    assert near_links(signed(["What is a fox?", "what is  a FOX"]), 0.99).height == 1
    assert near_links(signed(["", "", "?"]), 0.99).height >= 1


def test_later_texts_take_no_link_from_older_ones():
    pytest.importorskip("rensa")
    texts = [f"{text} {tail}" for text in random_texts(12) for tail in ("", "indeed", "maybe", "never", "always")]
    order = np.random.default_rng(1).permutation(len(texts))
    table = signed([texts[place] for place in order])
    whole = set(near_links(table, 0.8).iter_rows())
    for count in (5, 20, 40):
        assert set(near_links(table.head(count), 0.8).iter_rows()) <= whole


def test_matches_across_two_tables():
    pytest.importorskip("rensa")
    texts = random_texts(50)
    left = signed(texts[:30])
    right = signed([*texts[30:], f"{texts[3]} indeed", texts[4].upper()])
    assert near_matches(left, right, 0.8).to_list() == ["t0020", "t0021"]
    assert near_matches(left, right, 0.97).to_list() == ["t0021"]
    assert near_matches(left.clear(), right, 0.8).is_empty()
    assert near_matches(left, right.clear(), 0.8).is_empty()
