"""Control tokens that stand in texts: what ends an answer twice, and what was written in a template before."""

import re
from collections.abc import Sequence
from typing import Any, Final

from .messages import Message

# How turns begin in widely used templates: a text that starts so was written in one, be it this model's or another's.
_KNOWN_OPENINGS: Final = (
    "<|im_start|>",
    "<|start_header_id|>",
    "<|begin_of_text|>",
    "<|endoftext|>",
    "<|start|>",
    "<|system|>",
    "<|user|>",
    "<|start_of_role|>",
    "<|START_OF_TURN_TOKEN|>",
    "<start_of_turn>",
    "<bos>",
    "<s>",
    "[INST]",
    "<｜begin▁of▁sentence｜>",  # noqa: RUF001  DeepSeek's own bars
    "<｜User｜>",  # noqa: RUF001  as above
)


class Controls:
    """The tokens of one tokenizer that no text should hold."""

    def __init__(self, tokenizer: Any) -> None:
        """Take a loaded tokenizer."""
        self._end: str = tokenizer.eos_token or ""
        self._begin: str = tokenizer.bos_token or ""
        self._token = _any_of(_special_tokens(tokenizer))
        self._known = _any_of([*_KNOWN_OPENINGS, *_special_tokens(tokenizer)])

    def in_texts(self, messages: Sequence[Message]) -> list[str]:
        """`control_tokens` where a message holds one."""
        found = any(self._token.search(message["content"]) for message in messages)
        return ["control_tokens"] if found else []

    def in_answer(self, text: str) -> list[str]:
        """`control_tokens` where an answer holds one."""
        return ["control_tokens"] if self._token.search(text) else []

    def without_end(self, answer: str, turn_end: str) -> tuple[str, bool]:
        """An answer without end tokens that the template will write, and whether it had any.

        Args:
            answer: Its text.
            turn_end: What the template writes after an answer; it ends none where this holds no control token.
        """
        ends = set(self._token.findall(turn_end))
        if not ends:
            return answer, False
        ends.add(self._end)
        text = answer.rstrip()
        while end := next((end for end in ends if end and text.endswith(end)), None):
            text = text[: -len(end)].rstrip()
        return (text, True) if text != answer.rstrip() else (answer, False)

    def is_rendered(self, text: str, opening: str, asking: str) -> bool:
        """Whether a text begins as a template begins a turn, or ends as it asks for an answer: one wrote it before.

        Args:
            text: A message's.
            opening: What this model's template writes before a user's text, with all that begins a conversation.
            asking: What it writes to open the assistant's turn.
        """
        start, end = text.lstrip(), asking.strip()
        if self._known.match(start) or (self._token.search(end) and text.rstrip().endswith(end)):
            return True
        # The default system turn, if any, lies before the last control token; so does what begins the text.
        last = self._token.split(opening)[-1].strip()
        return bool(last) and not last.isalnum() and start.startswith(last)


def special_token_ids(tokenizer: Any) -> set[int]:
    """Ids of the tokens that no text becomes: those with a name, and added ones marked as special.

    A turn's end often is one of the latter: Gemma's is not its end of text.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return set(tokenizer.all_special_ids) | {number for number, token in added.items() if token.special}


def own_beginning(tokenizer: Any) -> list[int]:
    """Ids that the tokenizer itself puts before a text: the beginning its model was trained with, often none."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a", add_special_tokens=True)["input_ids"]
    special = special_token_ids(tokenizer)
    count = next((place for place, number in enumerate(whole) if number not in special), 0)
    return list(whole[:count]) if whole[count : count + len(plain)] == plain else []


def _special_tokens(tokenizer: Any) -> list[str]:
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return [*tokenizer.all_special_tokens, *(str(token) for token in added.values() if token.special)]


def _any_of(tokens: Sequence[str]) -> re.Pattern[str]:
    """Matches any of the tokens, the longest first; nothing where there are none."""
    written = sorted({token for token in tokens if token.strip()}, key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, written)) if written else r"(?!)")
