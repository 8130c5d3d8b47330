"""The one reader of messages: role, text, and what else of a message a chat template may read.

A message comes as chat APIs, trainers and tracing tools write it: content as a text, as parts or null; `from` and
`value`; LangChain's classes; calls of tools as `tool_calls`, `function_call` or parts of the content; thoughts under a
key or in parts. Text parts are joined by line breaks. A part that is no text, such as an image, is refused: without it
the message would say something else. What a message holds under other keys is left out, and counted by its key.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ...reading.records import RowError
from ...reading.remarks import MESSAGE_KEY, holds_text, remark
from ...tables import REASONING
from ..base import Message
from .calls import Call, as_json, function_calls, part_call, stated_calls
from .embedded import parsed
from .parts import THOUGHTS, part_kind, part_text, result_message
from .roles import FUNCTION_CALL, message_role, role_of
from .written import written_messages

_CONTENTS: Final = ("content", "value", "parts")
_NAMES: Final = frozenset({"name", "tool_call_id"})
_READ: Final = frozenset(
    {*_CONTENTS, *REASONING, "role", "from", "type", "name", "tool_call_id", "tool_calls", "function_call"}
    | {"refusal", "extra", "kwargs", "data", "additional_kwargs", "response_metadata", "usage_metadata", "lc"}
    | {"object", "status", "finish_reason", "stop_reason", "usage", "model", "weight"}
)
# Keys that name or date a message.
_NO_CONTENT: Final = re.compile(
    r"(?:.*_)?(?:(?:uu)?ids?|index|time(?:stamp)?|at|date|created|updated)|.*(?:I[dD]|At|Time)"
)


class Answer(NamedTuple):
    """An answer, as the fields of `RawEvent` of these names hold it."""

    completion: str
    completion_extra: str | None = None

    def is_same(self, other: "Answer") -> bool:
        """Whether both say the same but for white space around."""
        ours, theirs = (answer._replace(completion=answer.completion.strip()) for answer in (self, other))
        return ours == theirs


def in_words(*answers: Answer) -> list[Any]:
    """What digests of answers are made of: their texts, and what goes along with them where that is anything."""
    extras = [answer.completion_extra for answer in answers]
    return [*(answer.completion for answer in answers), *([extras] if any(extras) else [])]


def messages(value: Any, name: str, *, empty: str) -> list[Message]:
    """A text as one user message, or one message or a list of them as they are.

    Args:
        value: A text, which may be a list of messages as text; a message; or a list, whose entries may be JSON text.
        name: The field's name, for the error.
        empty: Reason code where no message says anything.

    Raises:
        RowError: None of these, an unknown role, a part that is no text, or nothing said.
    """
    listed = written_messages(value, name) if isinstance(value, str) else value
    if isinstance(value, str) and listed is None:
        if not value.strip():
            raise RowError(empty, f"field '{name}' is blank")
        return [{"role": "user", "content": value}]
    if isinstance(listed, dict) and role_of(listed) is not None:
        listed = [listed]
    if not isinstance(listed, list):
        raise RowError("wrong_type", f"field '{name}' is a {type(value).__name__}, not a text or a list of messages")
    read = [message for entry in listed for message in read_message(entry, name)]
    if not any(map(says_something, read)):
        raise RowError(empty, f"field '{name}' has no message with content")
    return read


def answer(value: Any, name: str) -> Answer:
    """A completion, from a text, or from one assistant message, alone or in a list.

    Raises:
        RowError: None of these, several messages, or blank.
    """
    if isinstance(value, str) and written_messages(value, name) is None:
        if not value.strip():
            raise RowError("empty_completion", f"field '{name}' is blank")
        return Answer(value)
    listed = messages(value, name, empty="empty_completion")
    if len(listed) != 1:
        raise RowError("several_messages", f"field '{name}' has {len(listed)} messages; a completion is one")
    return answer_of(listed[0], name)


def answer_of(message: Message, name: str) -> Answer:
    """A message of the assistant as an answer.

    Raises:
        RowError: It is somebody else's, or says nothing.
    """
    if message["role"] != "assistant":
        raise RowError("unknown_role", f"field '{name}' is a message of role '{message['role']}', not of assistant")
    if not says_something(message):
        raise RowError("empty_completion", f"field '{name}' is blank")
    return Answer(message["content"], message.get("extra"))


def said(answered: Answer) -> Message:
    """An answer as a message."""
    return made("assistant", answered.completion, answered.completion_extra)


def made(role: str, content: str, extra: str | None = None) -> Message:
    """A message."""
    message = {"role": role, "content": content}
    return message if extra is None else message | {"extra": extra}


def content_text(content: Any, name: str) -> str:
    """The text of a content alone: a string, a list of parts, or nothing.

    Raises:
        RowError: It is anything else.
    """
    return "\n".join(_heard({"content": content}, name, calls_only=False).texts)


def spoken(content: Any, name: str) -> Answer:
    """The text of a content and the thoughts and calls among its parts.

    Raises:
        RowError: It is neither a text nor a list of parts, or a part is no text.
    """
    heard = _heard({"content": content}, name, calls_only=False)
    if heard.results:
        raise RowError("not_text", f"field '{name}' has a part that is a tool's result, not a text")
    extra = _extra({}, heard)
    return Answer("\n".join(heard.texts), as_json(extra, name) if extra else None)


def says_something(message: Message) -> bool:
    """Whether a message has a text, calls a tool or thinks; a name alone says nothing."""
    return bool(message["content"].strip()) or not _NAMES.issuperset(parsed(message.get("extra", "{}")))


@dataclass
class _Said:
    """What a message says, part by part."""

    texts: list[str] = field(default_factory=list)
    thoughts: dict[str, list[str]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    results: list[Message] = field(default_factory=list)

    def add(self, part: Any, name: str) -> None:
        """Take a part of a content.

        Raises:
            RowError: It is no text, thought, call or result.
        """
        kind = part_kind(part)
        if kind == "silent":
            remark(MESSAGE_KEY, str(part["type"]))
        elif kind == "result":
            self.results.append(result_message(part, name))
        elif kind == "call":
            self.calls.append(part_call(part, name))
        elif kind in THOUGHTS:
            self.thoughts.setdefault(kind, []).append(part_text(part, name))
        else:
            self.texts.append(part_text(part, name))


def read_message(entry: Any, name: str) -> list[Message]:
    """The messages that an entry of a list is: one, and before it one for each result of a tool among its parts.

    Raises:
        RowError: No message, an unknown role, no content, or a part that is no text.
    """
    entry = _as_message(parsed(entry, begins=("{",)), name)
    role = message_role(entry, name)
    body = next((entry[key] for key in ("kwargs", "data") if isinstance(entry.get(key), dict)), entry)
    heard = _heard(body, name, calls_only=role_of(entry) == FUNCTION_CALL)
    heard.calls.extend(stated_calls(body, name))
    extra = _extra(body, heard)
    if not heard.texts and not heard.results and not extra:
        heard.texts.extend(_instead(body, name))
    _remark_others(body)
    own = made(role, "\n".join(heard.texts), as_json(extra, name) if extra else None)
    return heard.results if heard.results and not own["content"] and not heard.calls else [*heard.results, own]


def _as_message(entry: Any, name: str) -> dict[str, Any]:
    """An entry of a list of messages; a part that stands among messages as a message of that part.

    Raises:
        RowError: It is no object.
    """
    if not isinstance(entry, dict):
        raise RowError("wrong_type", f"field '{name}' lists a {type(entry).__name__}, not a message")
    if not {"role", "from"} & entry.keys() and part_kind(entry) in ("call", "result", *THOUGHTS):
        return {"role": "assistant", "content": [entry]}
    return entry


def _heard(body: Mapping[str, Any], name: str, *, calls_only: bool) -> _Said:
    """What a message's content says.

    Raises:
        RowError: It is neither a text nor a list of parts, or a part is no text.
    """
    content = next((body[key] for key in _CONTENTS if body.get(key) is not None), None)
    if calls_only and isinstance(content, str):
        return _Said(calls=function_calls(content, name))
    if content is None or isinstance(content, str):
        return _Said(texts=[] if content is None else [content])
    if isinstance(content, dict) and isinstance(content.get("parts"), list):  # as ChatGPT writes it
        content = content["parts"]
    if not isinstance(content, list):
        raise RowError("wrong_type", f"field '{name}' has a message whose content is a {type(content).__name__}")
    heard = _Said()
    for part in content:
        heard.add(part, name)
    return heard


def _instead(body: Mapping[str, Any], name: str) -> list[str]:
    """What a message without content says: why the model refused, or nothing.

    Raises:
        RowError: It has no key of a content at all.
    """
    if isinstance(body.get("refusal"), str):
        return [body["refusal"]]
    if not any(key in body for key in (*_CONTENTS, "tool_calls")):
        raise RowError("wrong_type", f"field '{name}' has a message without content")
    return []


def _extra(body: Mapping[str, Any], heard: _Said) -> dict[str, Any]:
    """What goes along with a message's text, its keys always in one order."""
    carried = parsed(body.get("extra"))
    own = carried if isinstance(carried, dict) else {}
    along = body.get("additional_kwargs")
    places = (body, own, along if isinstance(along, dict) else {})
    extra = {key: text for key in sorted(_NAMES) if (text := _text(places, key))}
    for key in REASONING:
        if (thought := _text(places, key)) and thought not in extra.values():
            extra[key] = thought
    extra |= {key: text for key, thoughts in heard.thoughts.items() if (text := "\n".join(filter(None, thoughts)))}
    calls = heard.calls or own.get("tool_calls")
    return extra | {"tool_calls": calls} if calls else extra


def _text(places: Sequence[Mapping[str, Any]], key: str) -> str | None:
    return next((place[key] for place in places if isinstance(place.get(key), str) and place[key].strip()), None)


def _remark_others(body: Mapping[str, Any]) -> None:
    for key, value in body.items():
        if key not in _READ and not _NO_CONTENT.fullmatch(key) and holds_text(value):
            remark(MESSAGE_KEY, key)
