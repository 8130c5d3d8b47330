"""The page on prepared data: every figure counted by hand from small tables."""

import polars as pl
import pytest
from scipy import stats

from thumbline.pipeline.report import Missing, ReportInputs
from thumbline.pipeline.report.evidence_facts import evidence_facts
from thumbline.pipeline.report.prepared import prepared_facts, render_prepared

SCRIPT = "<script>alert(1)</script>"


def answers(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


def raters(*rows):
    columns = ["user_id", "n_votes", "one_label", "weight"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def responses(*rows):
    return pl.DataFrame(rows, schema=["model", "n_up", "n_down"], orient="row")


def page(**tables):
    return ReportInputs(title="Data", run_name="run", command="", generated_at="2026-01-01T00:00:00", tables=tables)


def test_voters_are_counted():
    table = raters(("a", 90, False, 1.0), ("b", 6, True, 0.4), ("c", 3, False, 0.9), ("d", 1, False, 0.9))
    found = evidence_facts(page(raters=table)).voters
    assert found == (4, 100, 4.5, 90, 0.9, 1, 6, 1)


def test_the_busiest_hundredth_of_500_raters_are_5():
    table = raters(*((f"u{n}", 10 if n < 7 else 1, False, 1.0) for n in range(500)))
    found = evidence_facts(page(raters=table)).voters
    assert found.busiest_share == pytest.approx(50 / 563)


def test_votes_an_answer_go_into_their_class():
    table = responses(("m", 1, 0), ("m", 1, 1), ("m", 2, 3), ("m", 4, 2), ("m", 0, 0))
    assert [(row.label, row.responses, row.share) for row in evidence_facts(page(responses=table)).depth] == [
        ("1 vote", 1, 0.25), ("2 votes", 1, 0.25), ("3 to 5 votes", 1, 0.25), ("6 votes or more", 1, 0.25)
    ]  # fmt: skip


def test_a_models_thumbs_have_jeffreys_interval():
    table = responses(("small", 1, 1), ("large", 8, 2), ("large", 0, 0), (None, 5, 5))
    found = evidence_facts(page(responses=table)).models
    assert [(row.model, row.responses, row.votes, row.up_share) for row in found] == [
        ("large", 1, 10, 0.8),
        ("small", 1, 2, 0.5),
    ]
    # Half a vote is added to each side: 2.5% of Beta(8.5, 2.5) lie below the interval and as much above it.
    assert stats.beta(8.5, 2.5).cdf([found[0].low, found[0].high]) == pytest.approx([0.025, 0.975])


def test_lengths_count_characters_of_each_kind():
    unpaired = pl.DataFrame({"label": [True, True, False], "completion": answers("four", "sixsix", "é")})
    pairs = pl.DataFrame({"chosen": answers("long one", "a"), "rejected": answers("short", "b")})
    found = evidence_facts(page(unpaired=unpaired, pairs=pairs))
    assert [(row.kind, row.rows, row.mean, row.median) for row in found.lengths] == [
        ("desirable", 2, 5.0, 5.0),
        ("undesirable", 1, 1.0, 1.0),
        ("chosen", 2, 4.5, 4.5),
        ("rejected", 2, 3.0, 3.0),
    ]
    assert found.longer_chosen == 0.75


def test_contradictions_are_counted_by_kind():
    table = pl.DataFrame({"kind": ["both_labels", "changed_mind", "both_labels"]})
    assert evidence_facts(page(contradictions=table)).contradictions == (("both_labels", 2), ("changed_mind", 1))


def test_what_is_absent_is_named():
    found = evidence_facts(page())
    parts = (found.voters, found.contradictions, found.depth, found.models, found.lengths, found.leaks)
    assert all(isinstance(part, Missing) for part in parts)
    assert found.longer_chosen is None
    assert "Raters were not counted." in render_prepared(page())


@pytest.mark.parametrize(
    ("tables", "warning"),
    [
        ({"raters": raters(("a", 9, False, 1.0), ("b", 1, False, 1.0))}, "90.0% of the votes come from the busiest"),
        (
            {"pairs": pl.DataFrame({"chosen": answers("long"), "rejected": answers("s")})},
            "longer answer .* 100.0% of pairs",
        ),
        ({"unpaired": pl.DataFrame({"label": [True] * 3, "completion": answers("a", "b", "c")})}, "only 0 pairs and 3"),
        (
            {
                "leakage": pl.DataFrame(
                    [("prompt", "near", "train", "test", 40, 2)],
                    schema=["text", "match", "left", "right", "n_right", "n_leaked"],
                    orient="row",
                )
            },
            "2 of 40 prompts of test are nearly the same as prompts of train",
        ),
    ],
)
def test_what_a_person_should_know_first_is_said(tables, warning):
    import re

    found = prepared_facts(page(**tables)).warnings
    assert any(re.search(warning, text) for text in found), found


def test_a_models_name_is_text_on_the_page():
    made = render_prepared(page(responses=responses((SCRIPT, 3, 1))))
    assert SCRIPT not in made
