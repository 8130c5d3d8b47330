"""What rows took of people, counted by hand."""

import polars as pl

from thumbline.pipeline.side_by_side.curve import effort_of_pairs, effort_of_thumbs

RESPONSES = pl.DataFrame(
    [
        ("a", 2, 1, 0),  # three votes
        ("b", 0, 1, 0),
        ("c", 1, 0, 4),  # its vote counts; what it was compared with is counted with the pair
        ("d", 0, 0, 2),  # labelled by two comparisons
        ("e", 0, 0, 0),  # labelled by something that counts no votes: one annotation
    ],
    schema=["response_id", "n_up", "n_down", "n_compared"],
    orient="row",
)
COMPARISONS = pl.DataFrame(
    [("comparison", "d", "c", 3, 1, 1, 0), ("edit", "d", "c", 7, 0, 0, 0)],
    schema=["kind", "chosen_response_id", "rejected_response_id", "n_chosen", "n_rejected", "n_tied", "n_both_bad"],
    orient="row",
)


def pairs(*rows):
    names = ["pair_source", "prompt_id", "chosen_response_id", "rejected_response_id"]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_a_thumb_took_the_votes_on_its_answer():
    rows = pl.DataFrame({"response_id": ["a", "b", "d", "e"], "prompt_id": ["p", "p", "q", "q"]})
    assert effort_of_thumbs(rows, RESPONSES) == (3 + 1 + 2 + 1, 4, 2)


def test_a_pair_of_thumbs_took_the_votes_on_both_and_a_shared_answer_counts_once():
    assert effort_of_pairs(pairs(("votes", "p", "a", "b")), RESPONSES, COMPARISONS) == (4, 2, 1)
    two = pairs(("votes", "p", "a", "b"), ("votes", "p", "a", "c"))
    assert effort_of_pairs(two, RESPONSES, COMPARISONS) == (5, 3, 1)


def test_a_pair_that_was_compared_took_its_comparisons_in_whichever_order_they_stand():
    for ends in (("c", "d"), ("d", "c")):
        assert effort_of_pairs(pairs(("comparison", "p", *ends)), RESPONSES, COMPARISONS).annotations == 5
    # One that no table counts took one.
    assert effort_of_pairs(pairs(("comparison", "p", "a", "e")), RESPONSES, COMPARISONS).annotations == 1
    both = pairs(("votes", "p", "a", "b"), ("edit", "q", "d", "c"))
    assert effort_of_pairs(both, RESPONSES, COMPARISONS) == (4 + 7, 4, 2)
