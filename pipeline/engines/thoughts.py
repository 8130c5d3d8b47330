"""Thoughts that an answer begins with: where they end among its tokens."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

Decode = Callable[[Sequence[int]], str]

# Tokens at the end of a prompt that are looked at for a thought that it opens.
_PROMPT_END: Final = 16
# Why a row whose thoughts are masked has nothing left to score.
ONLY_THOUGHT: Final = "only_thought"


class Thoughts(NamedTuple):
    """How thoughts are told and treated.

    Attributes:
        opens: What one begins with.
        closes: What it ends with.
        masked: Whether those that an answer begins with are given to the model like the prompt, not scored.
    """

    opens: str = "<think>"
    closes: str = "</think>"
    masked: bool = False

    def may_be_in(self, text: str) -> bool:
        """Whether it is worth looking at the text's tokens."""
        return self.opens in text or self.closes in text


class Found(NamedTuple):
    """An answer's thoughts.

    Attributes:
        tokens: How many of the answer's first tokens are thoughts it begins with; a token that reaches beyond the end
            of the last one counts among them.
        is_blank: Whether those say nothing, as the empty ones that some templates write before every answer.
        inside: Whether another thought begins further in.
    """

    tokens: int
    is_blank: bool
    inside: bool


def find_thoughts(decode: Decode, prompt: Sequence[int], answer: Sequence[int], marks: Thoughts) -> Found:
    """Thoughts of an answer, from its token ids.

    It begins with one where its first text is what opens one, or where the prompt ends with that. One that never ends
    is the whole answer.

    Args:
        decode: Token ids to text, special tokens included.
        prompt: Token ids before the answer.
        answer: Its own.
        marks: What thoughts begin and end with.
    """
    text = decode(answer)
    end = _leading_end(text, marks, opened=_is_opened(decode, prompt, marks))
    inside = marks.opens in text[end:]
    is_blank = not text[:end].replace(marks.opens, "").replace(marks.closes, "").strip()
    return Found(0 if end == 0 else _tokens_to(decode, answer, text, end), is_blank, inside)


def _is_opened(decode: Decode, prompt: Sequence[int], marks: Thoughts) -> bool:
    return decode(prompt[-_PROMPT_END:]).rstrip().endswith(marks.opens)


def _leading_end(text: str, marks: Thoughts, *, opened: bool) -> int:
    """Characters of the thoughts at the beginning; 0 where there is none."""
    end = 0
    while True:
        place = end + len(text[end:]) - len(text[end:].lstrip())
        begins = text.startswith(marks.opens, place)
        if not begins and not (opened and end == 0):
            return end
        closed = text.find(marks.closes, place)
        if closed < 0:
            # The prompt may open a thought that a logged answer never had.
            return len(text) if begins else end
        end = closed + len(marks.closes)


def _tokens_to(decode: Decode, answer: Sequence[int], text: str, end: int) -> int:
    """Fewest first tokens whose text holds the first `end` characters."""
    low, high = 1, len(answer)
    while low < high:
        middle = (low + high) // 2
        if decode(answer[:middle])[:end] == text[:end]:
            high = middle
        else:
            low = middle + 1
    return low
