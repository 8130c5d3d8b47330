"""What the simulated raters of the sample log like: an answer that speaks to the user, and does so early."""

import re

EARLY_WORDS = 20
# The second person, also as the head of "you're" and "you'll"; "thank-you" and "youth" are other words.
_SECOND_PERSON = re.compile(r"(?<![\w-])(?:you|your|yours|yourself|yourselves)(?![\w-])", re.IGNORECASE)


def speaks_to_user(completion: str) -> bool:
    """Whether one of the first `EARLY_WORDS` words is "you" or a form of it.

    Args:
        completion: An answer's text; words are what white space separates.
    """
    return _SECOND_PERSON.search(" ".join(completion.split()[:EARLY_WORDS])) is not None
