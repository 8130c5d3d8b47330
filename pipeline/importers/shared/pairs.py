"""Pairs of answers in one row: the prompt beside them or at their beginning, each answer a text or messages."""

from typing import Any, NamedTuple

from ...reading.records import RowError
from ...reading.remarks import IMPLICIT, UNREAD, remark, text_columns
from ...storage.digests import digest_json
from ..base import Message, RawEvent, Row
from . import values
from .messages import Answer, answer, in_words, messages, said
from .prompts import PromptColumns, before_answers, in_context, no_prompt, prompt_name, prompt_of
from .written import written_messages


class Sides(NamedTuple):
    """The columns of the two answers."""

    chosen: str
    rejected: str


class Pair(NamedTuple):
    """A prompt, its two answers, and the tools that were offered with it."""

    prompt: list[Message]
    chosen: Message
    rejected: Message
    tools: str | None = None


def pair_of(row: Row, columns: PromptColumns, sides: Sides, *, implicit: bool = False) -> Pair:
    """The pair of a row.

    Args:
        row: The row.
        columns: Where its prompt may lie.
        sides: Where its answers lie.
        implicit: Whether the common beginning of two texts is their prompt although the row has other columns of text.

    Raises:
        RowError: An answer is missing or is none, or nothing says for sure what the prompt is.
    """
    chosen, rejected = (listed(values.present(row, name), name) for name in sides)
    name = None if implicit else prompt_name(row, columns)
    if isinstance(chosen, list) and isinstance(rejected, list) and not _is_stated(name, columns):
        pair = _implicit_messages(row, columns, sides, (chosen, rejected))
        if pair is not None:
            _remark_other_prompt(row, name, pair.prompt)
            return pair
    if name is not None:
        return _explicit(row, columns, sides, (chosen, rejected), name)
    if isinstance(chosen, str) and isinstance(rejected, str):
        return _implicit_texts(row, columns, sides, (chosen, rejected), implicit=implicit)
    if isinstance(chosen, list) and isinstance(rejected, list):
        raise RowError("empty_prompt", f"fields {_both(sides)} do not begin alike, and there is no 'prompt'")
    raise RowError("wrong_type", f"fields {_both(sides)} are not both texts or both lists of messages")


def _both(sides: Sides) -> str:
    return f"'{sides.chosen}' and '{sides.rejected}'"


def _is_stated(name: str | None, columns: PromptColumns) -> bool:
    return name is not None and (name == "prompt" or "prompt" in columns.stated)


def listed(value: Any, field: str) -> Any:
    """Messages as a list: one alone, those of an object of `messages`, those that a text holds; the rest as it is.

    Raises:
        RowError: A text that begins as a list of messages is cut.
    """
    if isinstance(value, dict):
        return value["messages"] if isinstance(value.get("messages"), list) else [value]
    return written_messages(value, field) or value if isinstance(value, str) else value


def _explicit(row: Row, columns: PromptColumns, sides: Sides, given: tuple[Any, Any], name: str) -> Pair:
    """The pair of a row with a prompt. Sides that repeat the prompt before the answer, as some sets do, are cut."""
    prompt = prompt_of(row, columns)
    chosen, rejected = (side_of(value, field, prompt) for value, field in zip(given, sides, strict=True))
    return Pair(before_answers(prompt, name, (chosen, rejected)), chosen, rejected)


def side_of(value: Any, field: str, prompt: list[Message]) -> Message:
    """The message of an answer after its prompt, which messages may repeat before it.

    Raises:
        RowError: As `answer_of`.
    """
    if isinstance(value, list):
        told = messages(value, field, empty="empty_completion")
        # The row's system text may stand in a column of its own alone.
        for before in (prompt, prompt[1:] if prompt[0]["role"] == "system" else prompt):
            if before and values.same_messages(before, told) == len(before):
                told = told[len(before) :]
                break
        value = told
    return answer_of(value, field)


def answer_of(value: Any, field: str) -> Message:
    """The message of an answer.

    Raises:
        RowError: It is no text and not exactly one message of the assistant, or says nothing.
    """
    return said(answer(value, field))


def _implicit_messages(row: Row, columns: PromptColumns, sides: Sides, given: tuple[Any, Any]) -> Pair | None:
    """The pair of two conversations that begin alike; None where no question is common to both."""
    left, right = (messages(value, field, empty="empty_completion") for value, field in zip(given, sides, strict=True))
    shared = values.same_messages(left, right)
    if not any(message["role"] == "user" for message in left[:shared]):
        return None
    prompt = in_context(row, columns, left[:shared])
    return Pair(prompt, answer_of(left[shared:], sides.chosen), answer_of(right[shared:], sides.rejected))


def _remark_other_prompt(row: Row, name: str | None, prompt: list[Message]) -> None:
    """Say that a prompt's column was not read where the conversations of both sides hold another prompt."""
    if name is None:
        return
    try:
        asked = messages(row[name], name, empty="empty_prompt")
    except RowError:
        asked = []
    texts = [message["content"].strip() for message in prompt]
    if not any(message["role"] == "user" and message["content"].strip() in texts for message in asked):
        remark(UNREAD, name)


def _implicit_texts(row: Row, columns: PromptColumns, sides: Sides, given: tuple[str, str], *, implicit: bool) -> Pair:
    """The pair of two texts that begin with their prompt: known only where the row has no other text."""
    others = [name for name in text_columns(row) if name not in sides]
    named = "prompt" in columns.stated or any(name in row for name in columns.prompt)
    if (others or named) and not implicit:
        raise no_prompt(row, columns)
    chosen, rejected = given
    shared = shared_text(chosen, rejected)
    if not chosen[:shared].strip():
        raise RowError("empty_prompt", f"fields {_both(sides)} do not begin alike, and there is no 'prompt'")
    prompt = messages(chosen[:shared], "prompt", empty="empty_prompt")
    remark(IMPLICIT, f"{sides.chosen}, {sides.rejected}")
    return Pair(prompt, answer_of(chosen[shared:], sides.chosen), answer_of(rejected[shared:], sides.rejected))


def answer_event(prompt: list[Message], message: Message, vote: str, tools: str | None = None) -> RawEvent:
    """The event of one answer and its vote."""
    return RawEvent(prompt, message["content"], vote, tools=tools, completion_extra=message.get("extra"))


def pair_events(pair: Pair, name: str, *, tied: bool = False) -> list[RawEvent]:
    """The two events of a pair.

    Args:
        pair: The prompt and its answers.
        name: The format's, which is part of the comparison's id.
        tied: Whether neither side is better.
    """
    told = (pair.chosen, pair.rejected)
    answers = [Answer(message["content"], message.get("extra")) for message in told]
    tools = [] if pair.tools is None else [pair.tools]
    comparison_id = digest_json([name, pair.prompt, *in_words(*answers), *tools])
    votes = ("tied", "tied") if tied else ("chosen", "rejected")
    return [
        answer_event(pair.prompt, message, vote, pair.tools)._replace(
            comparison_id=comparison_id, comparison_kind="preference"
        )
        for message, vote in zip(told, votes, strict=True)
    ]


def shared_text(chosen: str, rejected: str) -> int:
    """How many characters of two texts are their common prompt.

    Source: TRL 1.16, `extract_prompt`: the longest common beginning, less one space before the first difference, so
        that the space goes with the answers. Where one text is the beginning of the other TRL cuts a character short
        of its end; here nothing is left of it, and the row is rejected as an empty completion.
    """
    shared = 0
    for a, b in zip(chosen, rejected, strict=False):
        if a != b:
            break
        shared += 1
    else:
        return shared
    return shared - 1 if shared and chosen[shared - 1] == " " else shared
