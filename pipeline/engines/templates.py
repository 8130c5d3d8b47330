"""How a tokenizer's chat template writes one prompt and one answer, as texts that are tokenised afterwards."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

from .boundary import Boundary, common_length
from .bounds import LARGEST, TemplateLimitError, bounded
from .controls import Controls
from .messages import (
    PROBE,
    Form,
    Message,
    System,
    extras,
    find_form,
    for_template,
    has_system,
    marked,
    with_system_in_user_turns,
)
from .noticed import is_written
from .refusals import REFUSED, Refusal, Refused, check_not_empty, check_written, sentence

Template = Literal["chat", "plain"]


class TurnTexts(NamedTuple):
    """What a template writes.

    Attributes:
        prompt: Everything up to the answer, and what opens the assistant's turn.
        full: Prompt and answer.
        completion: The answer alone, with what ends its turn and what follows that.
        boundary: `prefix` where `full` begins with `prompt`; `shortened` where it does but for the end of what opens
            the assistant's turn; `apart` where the template writes earlier turns otherwise once there is an answer.
        noticed: Names of `noticed.NOTICED`.
    """

    prompt: str
    full: str
    completion: str
    boundary: Boundary
    noticed: tuple[str, ...] = ()


class _Prompt(NamedTuple):
    """A prompt as it is given to the template, and what that writes.

    Attributes:
        given: What was asked for: it names the entry.
        messages: Messages as the template is given them.
        tools: Tools, read.
        text: What the template writes.
        last: Text of the last message.
        noticed: What is noticed of the prompt alone.
        has_extras: Whether a message holds more than text, or there are tools.
    """

    given: tuple[Sequence[Message], str | None]
    messages: list[dict[str, Any]]
    tools: list[Any] | None
    text: str
    last: str
    noticed: tuple[str, ...]
    has_extras: bool


class Renderer:
    """A tokenizer's template with fixed options."""

    def __init__(
        self, tokenizer: Any, template: Template, options: Mapping[str, Any], system: System = "template"
    ) -> None:
        """Take a loaded tokenizer.

        Args:
            tokenizer: A transformers tokenizer.
            template: `chat` for its chat template, `plain` for texts joined.
            options: Variables that the template reads, such as `enable_thinking`.
            system: `template` gives system turns to the template; `first_user` puts them before the user's.
        """
        self._tokenizer = tokenizer
        self._template = template
        self._options = dict(options)
        self._system = system
        self._controls = Controls(tokenizer)
        self._last: _Prompt | None = None

    def texts(self, prompt: Sequence[Message], answer: Message, tools: str | None = None) -> TurnTexts | Refusal:
        """The texts of one row, or why there are none.

        Args:
            prompt: Messages; none where the model opened the conversation.
            answer: The assistant's message.
            tools: JSON list of the tools that are offered, or None.
        """
        try:
            return (
                self._plain(prompt, answer, tools) if self._template == "plain" else self._chat(prompt, answer, tools)
            )
        except Refused as refused:
            return refused.refusal

    def _plain(self, prompt: Sequence[Message], answer: Message, tools: str | None) -> TurnTexts:
        left_out = self._left_out(prompt, answer, tools)
        end = self._tokenizer.eos_token or ""
        start = "".join(message["content"] for message in prompt)
        completion, noticed = answer["content"], [*left_out, *self._controls.in_texts(prompt)]
        if end and completion.rstrip().endswith(end):
            noticed.append("end_token_given")
            completion = completion.rstrip().removesuffix(end)
        check_not_empty(completion, has_more=False)
        noticed += self._controls.in_answer(completion)
        return TurnTexts(start, start + completion + end, completion + end, "prefix", _once(noticed))

    @staticmethod
    def _left_out(prompt: Sequence[Message], answer: Message, tools: str | None) -> list[str]:
        """What joined texts leave out of earlier turns; refuses tools, calls, and thoughts of the answer."""
        parts = [{"role": turn["role"], **extras(turn)} for turn in (*prompt, answer)]
        return check_written(marked(parts, _read(tools)).marks, "", len(prompt))

    def _chat(self, prompt: Sequence[Message], answer: Message, tools: str | None) -> TurnTexts:
        content, ended = self._controls.without_end(answer["content"], self.turn_end)
        has_more = answer.get("extra") is not None
        check_not_empty(content, has_more=has_more)
        if not prompt:
            # The model opened the conversation: no template writes a prompt of no messages. Dropped as empty_prompt.
            return TurnTexts("", content, content, "prefix")
        asked = self._prompt(prompt, tools)
        turn = for_template({**answer, "role": "assistant", "content": content}, self._form)
        messages = [*asked.messages, turn]
        full = self._render(messages, asked.tools)
        noticed = [*asked.noticed, *(["end_token_given"] if ended else []), *self._controls.in_answer(content)]
        if asked.has_extras or has_more:
            noticed += self._written(messages, asked.tools)
        if full.startswith(asked.text):
            texts = TurnTexts(asked.text, full, full[len(asked.text) :], "prefix")
        else:
            texts = self._of_other_beginning(asked, full, content)
        if not is_written(content, texts.completion) and not self._is_opened(asked, content, texts.completion):
            noticed.append("answer_rewritten")
        return texts._replace(noticed=_once(noticed))

    def _prompt(self, prompt: Sequence[Message], tools: str | None) -> _Prompt:
        """The prompt as the template writes it; answers to one prompt come behind one another."""
        if self._last is None or self._last.given != (prompt, tools):
            moved = self._system == "first_user" and has_system(prompt)
            turns = with_system_in_user_turns(prompt) if moved else prompt
            offered = _read(tools)
            messages = [for_template(turn, self._form) for turn in turns]
            text = self._render(messages, offered, add_generation_prompt=True)
            noticed = [*(["system_moved"] if moved else []), *self._controls.in_texts(prompt)]
            if any(turn["role"] != "tool" and not is_written(turn["content"], text) for turn in turns):
                noticed.append("prompt_rewritten")
            if any(self._controls.is_rendered(turn["content"], *self._opening) for turn in prompt):
                noticed.append("rendered_prompt")
            has_extras = offered is not None or any(turn.get("extra") is not None for turn in turns)
            self._last = _Prompt(
                (prompt, tools), messages, offered, text, turns[-1]["content"], tuple(noticed), has_extras
            )
        return self._last

    def _of_other_beginning(self, asked: _Prompt, full: str, content: str) -> TurnTexts:
        """Texts of a row whose prompt is written otherwise once it is answered."""
        bare = self._render(asked.messages, asked.tools).rstrip()
        shared = common_length(asked.text, full)
        last = asked.last.strip()
        asks_to = asked.text.rfind(last) + len(last) if last and last in asked.text else len(asked.text)
        if shared >= (min(len(bare), asks_to) if asked.text.startswith(bare) else asks_to):
            return TurnTexts(asked.text, full, full[shared:], "shortened")
        start = full.rfind(content.strip())
        own = full[start:] if start >= 0 else content.strip() + (self.turn_end or self._tokenizer.eos_token or "")
        return TurnTexts(asked.text, full, own, "apart")

    def _is_opened(self, asked: _Prompt, content: str, completion: str) -> bool:
        """Whether the answer's beginning is what opens the assistant's turn, as of a thought that is opened there."""
        bare = self._render(asked.messages, asked.tools)
        return asked.text.startswith(bare) and is_written(content, asked.text[len(bare) :] + completion)

    def _written(self, messages: Sequence[Mapping[str, Any]], tools: list[Any] | None) -> list[str]:
        """What the template left out of earlier turns; refuses a row of which it leaves out more."""
        found = marked(messages, tools)
        text = self._render(found.messages, found.tools)
        return check_written(found.marks, text, len(messages) - 1)

    @cached_property
    def _form(self) -> Form:
        return find_form(lambda messages: self._render(messages, None))

    @cached_property
    def turn_end(self) -> str:
        """What the template writes after an answer."""
        return self._around(Message(role="user", content="?"), Message(role="assistant", content=PROBE))[1]

    @cached_property
    def _opening(self) -> tuple[str, str]:
        """What the template writes before a user's text, and to open the assistant's turn after it."""
        asking = Message(role="user", content=PROBE)
        before, after = self._around(asking)
        return before, self._around(asking, add_generation_prompt=True)[1].removeprefix(after)

    def _around(self, *turns: Message, add_generation_prompt: bool = False) -> tuple[str, str]:
        """What the template writes before and after the word that the turns end with."""
        probe = [for_template(turn, self._form) for turn in turns]
        try:
            text = self._render(probe, None, add_generation_prompt=add_generation_prompt)
        except Refused:
            return "", ""
        before, found, after = text.rpartition(PROBE)
        return (before, after) if found else ("", "")

    def _render(
        self, messages: Sequence[Mapping[str, Any]], tools: list[Any] | None, *, add_generation_prompt: bool = False
    ) -> str:
        name = getattr(self._tokenizer, "name_or_path", "") or "the tokenizer"
        options = {"tools": tools, "tokenize": False, "add_generation_prompt": add_generation_prompt}
        try:
            with bounded(name):
                text = self._tokenizer.apply_chat_template(messages, **options, **self._options)
        except TemplateLimitError:
            raise
        except Exception as error:  # a template is a program of its model's makers, and fails as it likes
            raise Refused(REFUSED, sentence(error)) from error
        if len(text) > LARGEST:
            raise Refused(REFUSED, f"it writes {len(text):,} characters")
        return str(text)


def _read(tools: str | None) -> list[Any] | None:
    """Tools, or None: of an empty list some templates write the frame."""
    return None if tools is None else json.loads(tools) or None


def _once(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def writes_the_date(tokenizer: Any, options: Mapping[str, Any]) -> bool:
    """Whether the chat template writes today's date, so that tomorrow the same row has other tokens."""
    template = getattr(tokenizer, "chat_template", None)
    texts = template.values() if isinstance(template, dict) else [template or ""]
    return "date_string" not in options and any("strftime_now" in str(text) for text in texts)
