"""The sample log's criterion, on texts whose answer is plain."""

import pytest

from data.criterion import EARLY_WORDS, speaks_to_user


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


def test_only_the_early_words_count():
    assert speaks_to_user(" ".join(["word"] * (EARLY_WORDS - 1) + ["you"]))
    assert not speaks_to_user(" ".join(["word"] * EARLY_WORDS + ["you"]))
