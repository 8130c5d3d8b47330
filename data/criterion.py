"""What the simulated raters of the sample log like: an answer that speaks to the user."""

import re

WORDS_PER_ADDRESS = 30
# The second person, also as the head of "you're" and "you'll"; "thank-you" and "youth" are other words.
_SECOND_PERSON = re.compile(r"(?<![\w-])(?:you|your|yours|yourself|yourselves)(?![\w-])", re.IGNORECASE)


def speaks_to_user(completion: str) -> bool:
    """Whether at least one in `WORDS_PER_ADDRESS` words is "you" or a form of it.

    A share and not a count, so that a longer answer does not meet it more easily.

    Args:
        completion: An answer's text; words are what white space separates.
    """
    addresses = len(_SECOND_PERSON.findall(completion))
    return addresses > 0 and addresses * WORDS_PER_ADDRESS >= len(completion.split())
