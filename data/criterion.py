"""What the simulated raters of the sample log like: an answer in one paragraph."""


def is_one_paragraph(completion: str) -> bool:
    """Whether the answer has no line break, white space at its ends aside: no list, no heading, no second paragraph.

    A chat product that shows answers in a small bubble, or reads them aloud, could want that.

    Args:
        completion: An answer's text.
    """
    return len(completion.strip().splitlines()) == 1
