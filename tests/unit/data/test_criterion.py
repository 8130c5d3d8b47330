"""The sample log's criterion, on texts whose answer is plain."""

import pytest

from data.criterion import WORDS_PER_ADDRESS, speaks_to_user


@pytest.mark.parametrize(
    "text",
    [
        "You can soak it overnight.",
        "That depends on YOUR oven.",
        "Here's what you'll need:\n\n1. Flour",
        "Here's what you\u2019ll need:\n\n1. Flour",
        'Ask "yourself" first.',
        "Do it (if you\ncan).",
    ],
)
def test_second_person_in_any_form_is_seen(text):
    assert speaks_to_user(text)


@pytest.mark.parametrize(
    "text", ["", "  \n ", "Soak it overnight.", "The youth club meets here.", "Write a thank-you note.", "Yo, ours."]
)
def test_other_words_are_not_the_second_person(text):
    assert not speaks_to_user(text)


@pytest.mark.parametrize(("others", "met"), [(WORDS_PER_ADDRESS - 1, True), (WORDS_PER_ADDRESS, False)])
def test_one_address_in_so_many_words_is_enough(others, met):
    assert speaks_to_user(" ".join(["word"] * others + ["you"])) is met


def test_twice_as_long_needs_twice_as_many():
    text = " ".join(["word"] * (2 * WORDS_PER_ADDRESS - 2))
    assert not speaks_to_user(f"{text} you")
    assert speaks_to_user(f"{text} you your")
