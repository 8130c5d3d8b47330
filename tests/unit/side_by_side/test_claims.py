"""The verdict on "half the effort", corrected p-values, and texts that come out as they are."""

import pytest

from thumbline.pipeline.side_by_side.claim import Claim, judged, together
from thumbline.pipeline.side_by_side.curve import Point
from thumbline.pipeline.side_by_side.markdown import escaped, table
from thumbline.pipeline.side_by_side.measures import corrected
from thumbline.pipeline.side_by_side.outcome import is_clear
from thumbline.pipeline.side_by_side.page import PageFacts, Section, as_html, as_markdown
from thumbline.pipeline.side_by_side.words import Entry
from thumbline.pipeline.sweep.comparing import Comparison


def comparison(low, high, p_value=0.01, seeds=(None, None)):
    middle = 0.0 if low is None else (low + high) / 2
    return Comparison("kto", middle, low, high, p_value, *seeds, 2)


@pytest.mark.parametrize(
    ("compared", "share", "answer"),
    [
        (comparison(-0.01, 0.05), 0.5, "supported"),
        (comparison(-0.01, -0.001), 0.5, "supported"),
        (comparison(-0.08, -0.03), 0.5, "not supported"),
        (comparison(-0.08, 0.03), 0.5, "cannot tell"),
        # Seeds have to agree with rows.
        (comparison(-0.01, 0.05, seeds=(-0.2, 0.2)), 0.5, "cannot tell"),
        (comparison(-0.08, -0.03, seeds=(-0.2, 0.2)), 0.5, "cannot tell"),
        (comparison(-0.08, -0.03, seeds=(-0.1, -0.01)), 0.5, "not supported"),
        # More than half of the annotations cannot support the claim, less than half cannot refute it.
        (comparison(-0.01, 0.05), 0.9, "cannot tell"),
        (comparison(-0.08, -0.03), 0.9, "not supported"),
        (comparison(-0.01, 0.05), 0.2, "supported"),
        (comparison(-0.08, -0.03), 0.2, "cannot tell"),
        (comparison(None, None), 0.5, "cannot tell"),
        (None, 0.5, "cannot tell"),
    ],
)
def test_a_verdict_follows_from_intervals_and_effort(compared, share, answer):
    found, why = judged(compared, share, 0.02)
    assert found == answer and why


def test_one_measure_that_refutes_is_enough_and_all_have_to_support():
    def claims(*answers):
        return [Claim(8, "accuracy", Point(8, "kto"), 0.5, None, answer, "") for answer in answers]

    assert together(claims("supported", "supported")) == "supported"
    assert together(claims("supported", "cannot tell")) == "cannot tell"
    assert together(claims("supported", "not supported")) == "not supported"
    assert together([]) == "cannot tell"


def test_p_values_are_corrected_for_the_methods_that_have_one():
    found = corrected({"a": comparison(0, 1, 0.01), "b": comparison(0, 1, 0.04), "c": comparison(0, 1, None)})
    # Holm: the least times two, the other as it is.
    assert [found[name].p_value for name in "abc"] == [0.02, 0.04, None]
    assert {one.comparisons for one in found.values()} == {2}


def test_a_difference_is_clear_where_rows_and_seeds_are_on_one_side():
    assert is_clear(comparison(0.1, 0.2), 0.95) and is_clear(comparison(-0.2, -0.1, seeds=(-0.3, -0.01)), 0.95)
    assert not is_clear(comparison(0.1, 0.2, 0.06), 0.95)
    assert not is_clear(comparison(0.1, 0.2, seeds=(-0.1, 0.4)), 0.95)
    assert not is_clear(comparison(0.1, 0.2, None), 0.95)


HOSTILE = "<script>alert(1)</script> | `a` *b* [c](d)\n# e"


def test_what_others_wrote_is_text_on_the_page_and_in_markdown():
    rows = ({"method": Entry(HOSTILE, HOSTILE), "value": Entry("1", value=1.0)},)
    facts = PageFacts(
        HOSTILE,
        HOSTILE,
        "2026-01-01",
        HOSTILE,
        "same",
        "badge",
        HOSTILE,
        (HOSTILE,),
        (Section("a", "A", HOSTILE, rows),),
    )
    page, told = as_html(facts), as_markdown(facts)
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert 'class="scroll"' in page
    assert "<script>" not in told.split("## Command")[0]
    assert escaped("a|b\nc") == "a\\|b c"
    assert table(rows).splitlines()[0] == "| method | value |" and len(table(rows).splitlines()) == 3
