"""Messages as a chat template is given them: with tool calls and reasoning in the form that it reads."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, NotRequired, TypedDict

from ..tables import REASONING
from .bounds import TemplateLimitError

Arguments = Literal["object", "text"]
System = Literal["template", "first_user"]
_KINDS: Final[tuple[Arguments, ...]] = ("object", "text")
# No template and no tokenizer says anything about this word. Nine letters, as some templates ask of a call's id.
PROBE: Final = "thumbline"
_INSTRUCTING: Final = frozenset({"system", "developer"})


class Message(TypedDict):
    """One turn of a conversation.

    `extra` is a JSON object of its other keys that a template may read, such as `tool_calls`; None for none.
    """

    role: str
    content: str
    extra: NotRequired[str | None]


class Form(NamedTuple):
    """How a template wants what a message holds beside its text.

    Attributes:
        arguments: Whether a call's arguments are an object or JSON text. Data has both, a template reads one.
        empty: The content of a message that only calls tools.
        reasoning: Keys of thoughts that the template reads; thoughts under another go under the first of them.
        parts: Whether a text has to be a list of one part, as for models that see images too.
    """

    arguments: Arguments = "object"
    empty: str | None = ""
    reasoning: tuple[str, ...] = ()
    parts: bool = False

    def content(self, text: str | None) -> Any:
        """A message's text as the template is given it."""
        return [{"type": "text", "text": text}] if self.parts and text is not None else text


Render = Callable[[Sequence[Mapping[str, Any]]], str]


def find_form(render: Render) -> Form:
    """The form that a template reads, found by giving it each.

    Args:
        render: The template; it may raise anything.
    """
    takes_text = PROBE in _tried(render, PROBE)
    text = Form(parts=not takes_text and PROBE in _tried(render, Form(parts=True).content(PROBE)))
    read = tuple(key for key in REASONING if PROBE in _tried(render, text.content("?"), **{key: PROBE}))
    for form in (text._replace(arguments=kind, empty=empty, reasoning=read) for kind in _KINDS for empty in ("", None)):
        given = '{"key": true}' if form.arguments == "text" else {"key": True}
        call = {"id": PROBE, "type": "function", "function": {"name": PROBE, "arguments": given}}
        written = _tried(render, form.content(form.empty), tool_calls=[call])
        # An object that was written as Python writes it was meant to be text.
        if PROBE in written and "{'key'" not in written:
            return form
    return text._replace(reasoning=read)


def _tried(render: Render, content: Any, **more: Any) -> str:
    """What the template writes of an answer; nothing where it fails."""
    question = [{"type": "text", "text": "?"}] if isinstance(content, list) else "?"
    try:
        return render([{"role": "user", "content": question}, {"role": "assistant", "content": content, **more}])
    except TemplateLimitError:
        raise
    except Exception:  # noqa: BLE001  a template is a program of its model's makers, and fails as it likes
        return ""


def for_template(message: Message, form: Form) -> dict[str, Any]:
    """A message as the template is given it."""
    extra = extras(message)
    calls = extra.get("tool_calls")
    if isinstance(calls, list):
        extra["tool_calls"] = [_call(call, form) for call in calls]
    thoughts = [key for key in REASONING if key in extra]
    if thoughts and form.reasoning and not any(key in form.reasoning for key in thoughts):
        extra[form.reasoning[0]] = extra.pop(thoughts[0])
    content = message["content"] if message["content"] or not calls else form.empty
    return {"role": message["role"], "content": form.content(content), **extra}


def extras(message: Message) -> dict[str, Any]:
    """What a message holds beside role and text."""
    text = message.get("extra")
    return {} if text is None else dict(json.loads(text))


def _call(call: Any, form: Form) -> Any:
    function = function_of(call)
    if function is None or "arguments" not in function:
        return call
    given = {**function, "arguments": _arguments(function["arguments"], form)}
    return {**call, "function": given} if "function" in call else given


def function_of(entry: Any) -> Mapping[str, Any] | None:
    """The function of a tool or of a call, which may lie in it or be it; None where there is none."""
    function = entry.get("function", entry) if isinstance(entry, Mapping) else None
    return function if isinstance(function, Mapping) else None


def _arguments(given: Any, form: Form) -> Any:
    if form.arguments == "text":
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    if not isinstance(given, str):
        return given
    try:
        read = json.loads(given)
    except ValueError:
        return given
    return read if isinstance(read, dict) else given


def with_system_in_user_turns(prompt: Sequence[Message]) -> list[Message]:
    """The messages without system turns: the text of each stands before that of the user's turn that follows.

    Where none follows it is a user's turn of its own. A blank line parts the two, as in the templates of Gemma 3.
    """
    waiting: list[str] = []
    turns: list[Message] = []
    for message in prompt:
        if message["role"] in _INSTRUCTING:
            waiting.append(message["content"])
        elif message["role"] == "user" and waiting:
            turns.append({**message, "content": "\n\n".join([*waiting, message["content"]])})
            waiting = []
        else:
            turns.append(message)
    return [*turns, Message(role="user", content="\n\n".join(waiting))] if waiting else turns


def has_system(prompt: Sequence[Message]) -> bool:
    """Whether a message instructs the model rather than talks to it."""
    return any(message["role"] in _INSTRUCTING for message in prompt)


class Mark(NamedTuple):
    """A part of a conversation that a template may leave out.

    Attributes:
        kind: `tools`, `tool_calls`, `reasoning` or `name`.
        turn: Number of its message; None for tools.
        word: What the marked text holds where the template wrote the part; None for a part that has no name to mark.
    """

    kind: str
    turn: int | None
    word: str | None


class Marked(NamedTuple):
    """A conversation whose parts can be found in what a template writes."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None
    marks: list[Mark]


def marked(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None) -> Marked:
    """Messages and tools in which every name, thought and called function ends in a word of its own."""
    words = (f"{PROBE}{number}x" for number in range(1_000_000))
    marks: list[Mark] = []
    offered = None if tools is None else [_marked_function(tool, "tools", None, words, marks) for tool in tools]
    turns = [_marked_turn(dict(message), number, words, marks) for number, message in enumerate(messages)]
    return Marked(turns, offered, marks)


def _marked_turn(turn: dict[str, Any], number: int, words: Iterator[str], marks: list[Mark]) -> dict[str, Any]:
    calls = turn.get("tool_calls")
    if isinstance(calls, list):
        turn["tool_calls"] = [_marked_function(call, "tool_calls", number, words, marks) for call in calls]
    thoughts = [key for key in REASONING if isinstance(turn.get(key), str) and turn[key].strip()]
    # Two names of one thought are one thought: a template writes it once.
    word = next(words)
    for key in thoughts:
        turn[key] += word
    if thoughts:
        marks.append(Mark("reasoning", number, word))
    if isinstance(turn.get("name"), str) and turn["role"] != "tool":
        marks.append(Mark("name", number, next(words)))
        turn["name"] += marks[-1].word
    return turn


def _marked_function(entry: Any, kind: str, number: int | None, words: Iterator[str], marks: list[Mark]) -> Any:
    function = function_of(entry)
    if function is None or not isinstance(function.get("name"), str):
        marks.append(Mark(kind, number, None))
        return entry
    word = next(words)
    marks.append(Mark(kind, number, word))
    renamed = {**function, "name": function["name"] + word}
    return {**entry, "function": renamed} if "function" in entry else renamed
