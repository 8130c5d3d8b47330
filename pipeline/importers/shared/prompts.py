"""The prompt of a row whose parts lie in columns: a text or messages, what stands before them, and what follows.

A part goes by the first of its usual names that says something in the row; an option of the part's name states the
column. A row without a prompt's column is refused with the columns of text that it has: which of them was asked is
for the user to say.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ...errors import examples
from ...reading.records import Options, RowError
from ...reading.remarks import text_columns
from ..base import Message, Row
from .embedded import literal
from .messages import Answer, answer_of, messages

# Columns of whole conversations: their last message may be the answer.
CONVERSATIONS: Final = ("messages", "conversations")
PROMPT_NAMES: Final = ("prompt", "question", "instruction", "query", *CONVERSATIONS)
SYSTEM_NAMES: Final = ("system", "system_prompt", "system_message")
HISTORY_NAMES: Final = ("history", "chat_history")
FOLLOW_NAMES: Final = ("input",)
# Alpaca's `input` belongs to its instruction; beside a column of another name it may be anything.
_WITH_INPUT: Final = "instruction"
_NOT_TEXT: Final = ("images", "image", "videos", "audios")
_TURNS: Final = ("user", "assistant")
OPTIONS: Final[Mapping[str, str]] = {
    "prompt": f"Column of the prompt; else the first of: {', '.join(PROMPT_NAMES)}, or input alone.",
    "input": "Column whose text follows the prompt's after a line break; else input beside instruction.",
    "system": f"Column of the system text; else the first of: {', '.join(SYSTEM_NAMES)}.",
    "history": f"Column of earlier turns, pairs of texts or messages; else the first of: {', '.join(HISTORY_NAMES)}.",
}


class PromptColumns(NamedTuple):
    """Names under which the parts of a prompt are looked for, the first that says something in a row is taken.

    Attributes:
        prompt: The prompt's own names.
        follows: Names of a text that goes after it.
        system: Names of the system text.
        history: Names of earlier turns.
        stated: Parts whose column the user has stated.
    """

    prompt: tuple[str, ...]
    follows: tuple[str, ...]
    system: tuple[str, ...]
    history: tuple[str, ...]
    stated: frozenset[str]


def prompt_columns(options: Options) -> PromptColumns:
    """The names under given options."""

    def names(part: str, usual: tuple[str, ...]) -> tuple[str, ...]:
        return (options[part],) if part in options else usual

    return PromptColumns(
        names("prompt", PROMPT_NAMES),
        names("input", FOLLOW_NAMES),
        names("system", SYSTEM_NAMES),
        names("history", HISTORY_NAMES),
        frozenset(OPTIONS.keys() & options.keys()),
    )


def prompt_name(row: Row, columns: PromptColumns) -> str | None:
    """The column of the row's prompt: the first that is not null; an `input` where there is no other."""
    names = columns.prompt if "prompt" in columns.stated else (*columns.prompt, *columns.follows)
    return _named(row, names)


def prompt_of(row: Row, columns: PromptColumns) -> list[Message]:
    """The whole prompt of a row.

    Raises:
        RowError: No column of a prompt, no text in it, or a part that is not of its form.
    """
    name = prompt_name(row, columns)
    if name is None:
        raise no_prompt(row, columns)
    return in_context(row, columns, _own(row, name, columns))


def before_answers(prompt: list[Message], name: str | None, answers: Sequence[Message]) -> list[Message]:
    """What comes before the answers of a row: a conversation that goes on to one of them is cut before it.

    Args:
        prompt: The messages of the prompt.
        name: Its column.
        answers: The row's answers.

    Raises:
        RowError: The column ends in another answer; one that is called `prompt` may, as the beginning of the answer.
    """
    if prompt[-1]["role"] != "assistant":
        return prompt
    begun = name == PROMPT_NAMES[0]
    last = Answer(prompt[-1]["content"], prompt[-1].get("extra")) if begun else answer_of(prompt[-1], str(name))
    if len(prompt) > 1 and any(last.is_same(answer_of(answer, str(name))) for answer in answers):
        return prompt[:-1]
    if begun:
        return prompt
    raise RowError("not_a_prompt", f"field '{name}' ends in an answer that is none of the row's answers")


def check_text_only(row: Row) -> None:
    """Refuse a row with pictures, films or sounds: its texts speak of what would not be there.

    Raises:
        RowError: It has some.
    """
    for name in _NOT_TEXT:
        if row.get(name):
            raise RowError("not_text", f"field '{name}' is not empty, and text alone is read")


def no_prompt(row: Row, columns: PromptColumns) -> RowError:
    """Why a row has no prompt, and how it would have one."""
    null = [name for name in columns.prompt if name in row]
    why = f"field '{null[0]}' is null" if null else f"none of {', '.join(columns.prompt)} is there"
    held = examples([name for name in text_columns(row) if name not in columns.system], 8)
    state = "state the prompt's column in events.options, such as prompt: NAME"
    return RowError("no_prompt", f"{why}; columns of text: {held or 'none'}; {state}")


def _named(row: Row, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in row and row[name] is not None), None)


def _own(row: Row, name: str, columns: PromptColumns) -> list[Message]:
    """The messages of the prompt's column, and of what follows its text."""
    value = row[name]
    follows = _follows(row, name, columns)
    if follows and isinstance(value, str):
        value = f"{value}\n{follows}" if value.strip() else follows
    return messages(value, name, empty="empty_prompt")


def _follows(row: Row, name: str, columns: PromptColumns) -> str:
    if name != _WITH_INPUT and "input" not in columns.stated:
        return ""
    return _text(row, _named(row, tuple(other for other in columns.follows if other != name)))


def _text(row: Row, name: str | None) -> str:
    """A text that may be left out or blank."""
    value = None if name is None else row[name]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError("wrong_type", f"field '{name}' is a {type(value).__name__}, not a text")
    return value if value.strip() else ""


def in_context(row: Row, columns: PromptColumns, asked: list[Message]) -> list[Message]:
    """The messages after the row's system text and earlier turns.

    Raises:
        RowError: A system text beside another one in the messages, or earlier turns of another form.
    """
    history = _history(row, columns)
    system_name = _named(row, columns.system)
    system = _system(row, system_name)
    whole = [*history, *asked]
    if not system or whole[:1] == system:
        return whole
    if any(message["role"] in ("system", "developer") for message in whole):
        raise RowError("several_systems", f"field '{system_name}' is not the system text that the messages have")
    return [*system, *whole]


def _system(row: Row, name: str | None) -> list[Message]:
    text = _text(row, name)
    return [{"role": "system", "content": text}] if text else []


def _history(row: Row, columns: PromptColumns) -> list[Message]:
    name = _named(row, columns.history)
    value = None if name is None else row[name]
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = literal(value)
    if name is None or not value or (isinstance(value, str) and not value.strip()):
        return []
    if not isinstance(value, list):
        raise RowError("wrong_type", f"field '{name}' is a {type(value).__name__}, not a list of turns")
    if all(isinstance(turn, list) for turn in value):
        return [message for turn in value for message in _turn(turn, name)]
    return messages(value, name, empty="empty_prompt")


def _turn(turn: list[Any], name: str) -> list[Message]:
    """One earlier turn: what was asked and what was answered."""
    if len(turn) != len(_TURNS) or not all(isinstance(text, str) for text in turn):
        raise RowError("wrong_type", f"field '{name}' lists something else than pairs of a question and its answer")
    return [{"role": role, "content": text} for role, text in zip(_TURNS, turn, strict=True)]
