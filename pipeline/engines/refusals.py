"""Why a row gets no token ids: the template's own words, or what it cannot write."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import polars as pl

from .messages import Mark

Named = Literal["setting", "option"]
REFUSED: Final = "template_refuses"
EMPTY: Final = "empty_completion"
# What to do about each reason.
_ADVICE: Final = {
    "too_long": "raise {max_tokens} (now {now}) or {cut}",
    REFUSED: "set {template} to plain; where it is system turns, set {system} to first_user",
    "only_thought": "set {think} to keep, or leave out answers whose thought never ends",
    "tools_not_written": "take a model whose chat template writes tools, or leave the tools out of the log",
    "tool_calls_not_written": "take a model whose chat template writes tool calls",
    "reasoning_not_written": "take a model whose chat template writes thoughts, or leave them out of the log",
}
# How a run file and a command name the settings.
_NAMES: Final[Mapping[str, Mapping[str, str]]] = {
    "setting": {
        **{key: f"sequences.{key}" for key in ("max_tokens", "template", "system", "think")},
        "cut": "set sequences.truncation",
    },
    "option": {
        "max_tokens": "--max-tokens",
        "template": "--template",
        "system": "--system",
        "think": "sequences.think",
        "cut": "cut long texts",
    },
}
_WHAT: Final = {"tools": "the tools on offer", "tool_calls": "the tool calls", "reasoning": "the thoughts"}
_MOST_SENTENCES: Final = 3
_MOST_DISTINCT: Final = 100
_LONGEST_SENTENCE: Final = 160


class Refusal(NamedTuple):
    """Why a row has no texts.

    Attributes:
        reason: Why, as the tables name it.
        detail: The template's own words, or what was lost.
    """

    reason: str
    detail: str | None = None


class Refused(Exception):  # noqa: N818  it ends in a dropped row, not in an error
    """Carries a refusal out of a rendering."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        """Take the refusal's parts."""
        super().__init__(reason)
        self.refusal = Refusal(reason, detail)


def sentence(error: Exception) -> str:
    """A template's error in its own words, on one line; with its kind where the template did not mean to raise it."""
    from jinja2.exceptions import TemplateError

    words = " ".join(str(error).split())
    if not isinstance(error, TemplateError) or not words:
        words = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return words if len(words) <= _LONGEST_SENTENCE else words[: _LONGEST_SENTENCE - 1] + "…"


def check_not_empty(content: str, *, has_more: bool) -> None:
    """Refuse an answer without text, but for one that calls tools or thinks."""
    if not content.strip() and not has_more:
        raise Refused(EMPTY)


def check_written(marks: Sequence[Mark], text: str, answer: int) -> list[str]:
    """What is noticed of earlier turns: a template may leave out their thoughts, and names.

    Args:
        marks: Parts of a conversation.
        text: What the template wrote of it.
        answer: Number of the answer's turn.

    Raises:
        Refused: Tools, a tool call, or thoughts of the answer were left out.
    """
    noticed = []
    for mark in marks:
        if mark.word is not None and mark.word in text:
            continue
        if mark.kind == "name":
            noticed.append("name_left_out")
        elif mark.kind == "reasoning" and mark.turn != answer:
            noticed.append("earlier_reasoning_left_out")
        else:
            where = "" if mark.turn is None else f" of turn {mark.turn + 1}"
            raise Refused(f"{mark.kind}_not_written", f"the chat template does not write {_WHAT[mark.kind]}{where}")
    return noticed


class Refusals:
    """Refusals counted, with the words of the most frequent ones."""

    def __init__(self) -> None:
        """Begin with none."""
        self.reasons: Counter[str] = Counter()
        self._sentences: Counter[str] = Counter()

    def add(self, dropped: pl.DataFrame) -> None:
        """Take dropped rows: columns reason and detail."""
        for reason, detail in dropped.select("reason", "detail").iter_rows():
            self.reasons[reason] += 1
            # Words of a template may hold a row's text: there may be as many as rows.
            if reason == REFUSED and detail and (detail in self._sentences or len(self._sentences) < _MOST_DISTINCT):
                self._sentences[detail] += 1

    def told(self, what: str, max_tokens: int, named: Named) -> list[str]:
        """One sentence, or none where nothing was dropped.

        Args:
            what: What was dropped, such as `rows`.
            max_tokens: Most tokens of a row.
            named: Whether settings are named as in a run file or as a command's options.
        """
        return [f"{what} without token ids: {self.in_words()}.{self.advice(max_tokens, named)}"] if self.reasons else []

    def in_words(self) -> str:
        """Each reason with its count and, of templates, their words."""
        return ", ".join(f"{reason} {count:,}{self._quoted(reason)}" for reason, count in sorted(self.reasons.items()))

    def _quoted(self, reason: str) -> str:
        if reason != REFUSED or not self._sentences:
            return ""
        most = sorted(self._sentences.items(), key=lambda item: (-item[1], item[0]))[:_MOST_SENTENCES]
        return f" ({'; '.join(repr(words) for words, _ in most)})"

    def advice(self, max_tokens: int, named: Named) -> str:
        """What to do about the reasons there are, as sentences; empty where nothing is known."""
        names = {**_NAMES[named], "now": f"{max_tokens}"}
        known = [f"{name}: {_ADVICE[name].format(**names)}" for name in sorted(self.reasons) if name in _ADVICE]
        return f" {'; '.join(known)}." if known else ""
