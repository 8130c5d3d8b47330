"""How a tokenizer's chat template writes one prompt and one answer, as texts that are tokenised afterwards."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypedDict

from jinja2.exceptions import TemplateError

Template = Literal["chat", "plain"]
# No template and no tokenizer says anything about this word.
_PROBE: Final = "thumblineprobe"


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


class TurnTexts(NamedTuple):
    """What a template writes.

    Attributes:
        prompt: Everything up to the answer, and what opens the assistant's turn.
        full: Prompt and answer.
        completion: The answer alone, with what ends its turn and what follows that.
        is_prefix: Whether `full` begins with `prompt`.
    """

    prompt: str
    full: str
    completion: str
    is_prefix: bool


class Renderer:
    """A tokenizer's template with fixed options."""

    def __init__(self, tokenizer: Any, template: Template, options: Mapping[str, Any]) -> None:
        """Take a loaded tokenizer.

        Args:
            tokenizer: A transformers tokenizer.
            template: `chat` for its chat template, `plain` for texts joined.
            options: Variables that the template reads, such as `enable_thinking`.
        """
        self._tokenizer = tokenizer
        self._template = template
        self._options = dict(options)
        self._turn_end: str | None = None

    def texts(self, prompt: Sequence[Message], completion: str) -> TurnTexts | None:
        """The texts of one row; None where the template refuses it (roles that it does not take, for example)."""
        if self._template == "plain":
            end = self._tokenizer.eos_token or ""
            start = (self._tokenizer.bos_token or "") + "".join(message["content"] for message in prompt)
            return TurnTexts(start, start + completion + end, completion + end, is_prefix=True)
        if not prompt:
            # The model opened the conversation: no template writes a prompt of no messages. Dropped as empty_prompt.
            return TurnTexts("", completion, completion, is_prefix=True)
        answer = Message(role="assistant", content=completion)
        try:
            start = self._render(prompt, add_generation_prompt=True)
            full = self._render([*prompt, answer], add_generation_prompt=False)
        except TemplateError:
            return None
        if full.startswith(start):
            return TurnTexts(start, full, full[len(start) :], is_prefix=True)
        return TurnTexts(start, full, self._own_text(full, completion), is_prefix=False)

    def _own_text(self, full: str, completion: str) -> str:
        """The answer as it stands in the whole text; where the template rewrote it, as it was given, and ended."""
        words = completion.strip()
        start = full.rfind(words)
        return full[start:] if start >= 0 else words + self._end_of_turn()

    def _end_of_turn(self) -> str:
        """What the template writes after an answer."""
        if self._turn_end is None:
            probe = [Message(role="user", content="?"), Message(role="assistant", content=_PROBE)]
            try:
                _, separator, after = self._render(probe, add_generation_prompt=False).rpartition(_PROBE)
            except TemplateError:
                separator, after = "", ""
            self._turn_end = after if separator else self._tokenizer.eos_token or ""
        return self._turn_end

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt, **self._options
        )
        return str(text)


def special_token_ids(tokenizer: Any) -> set[int]:
    """Ids of the tokens that no text becomes: those with a name, and added ones marked as special.

    A turn's end often is one of the latter: Gemma's is not its end of text.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return set(tokenizer.all_special_ids) | {number for number, token in added.items() if token.special}


def writes_the_date(tokenizer: Any, options: Mapping[str, Any]) -> bool:
    """Whether the chat template writes today's date, so that tomorrow the same row has other tokens."""
    template = getattr(tokenizer, "chat_template", None)
    texts = template.values() if isinstance(template, dict) else [template or ""]
    return "date_string" not in options and any("strftime_now" in str(text) for text in texts)
