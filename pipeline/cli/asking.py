"""Questions of a look at a log on the terminal, or their guesses where nobody is asked."""

import json
import re
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from rich.prompt import Confirm, IntPrompt
from rich.table import Table
from rich.text import Text

from ..errors import ConfigError
from .terminal import out, plain

if TYPE_CHECKING:
    from ..starting.questions import Question, Topic

# What needs no quotes inside a mapping of YAML.
_PLAIN_VALUE: Final = re.compile(r"[A-Za-z][\w./-]*")


class Answered(NamedTuple):
    """A question and its answer; `guessed`: nobody was asked."""

    question: "Question"
    answer: str
    guessed: bool


class Answers:
    """Who answers, and what was answered.

    Attributes:
        given: Every question with its answer, in the order in which they were asked.
    """

    def __init__(self, options: Mapping[str, str], *, asks: bool) -> None:
        """Begin without an answer.

        Args:
            options: What is stated already.
            asks: Whether the person at the terminal is asked; else each guess is taken.
        """
        self.given: list[Answered] = []
        self._topics: list[Topic] = []
        self._options = dict(options)
        self._asks = asks

    @property
    def how(self) -> str:
        """What an answer is made of."""
        return "asked" if self._asks else "guessed"

    def __call__(self, topic: "Topic") -> list[str]:
        """The answers to the questions of a topic."""
        self._topics.append(topic)
        answers = _on_terminal(topic) if self._asks else [question.guess for question in topic.questions]
        self.given += [
            Answered(question, answer, not self._asks)
            for question, answer in zip(topic.questions, answers, strict=True)
        ]
        return answers

    def refuse_guesses(self) -> None:
        """Raise where anything was guessed.

        Raises:
            ConfigError: Says what was not sure, the guesses, and the options that state them.
        """
        guessed = [entry.question for entry in self.given if entry.guessed]
        if not guessed:
            return
        lines = [
            line
            for topic in self._topics
            for line in (topic.title, *(f"  {_told(question)}" for question in topic.questions))
        ]
        options = self._options | {name: value for topic in self._topics for name, value in topic.state.items()}
        count = f"{len(guessed)} things are" if len(guessed) > 1 else "one thing is"
        raise ConfigError(
            f"init: {count} not sure, and there is no terminal to ask on; no file is written.\n  "
            + "\n  ".join(lines)
            + f"\nState what is so: {set_options(options)}\nor take the guesses: --yes"
        )


def _told(question: "Question") -> str:
    return f"{question.about}: {question.guessed} ({question.why})"


def set_options(options: Mapping[str, str]) -> str:
    """The `--set` that states options, as a shell takes it."""
    entries = (f"{name}: {_in_mapping(value)}" for name, value in options.items())
    return f"--set {shlex.quote('events.options={' + ', '.join(entries) + '}')}"


def _in_mapping(value: str) -> str:
    return value if _PLAIN_VALUE.fullmatch(value) else json.dumps(value, ensure_ascii=False)


def is_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _on_terminal(topic: "Topic") -> list[str]:
    """What the person at the terminal says; where several things are guessed, first whether all of that is so."""
    out.print(f"\n{topic.title}", style="bold", markup=False)
    if len(topic.questions) > 1:
        table = Table(box=None, pad_edge=False, show_header=False)
        for question in topic.questions:
            table.add_row(*(Text(plain(f"{part}")) for part in ("", question.about, question.guessed, question.why)))
        out.print(table)
        if Confirm.ask("Is that so?", default=True, console=out):
            return [question.guess for question in topic.questions]
    return [_chosen(question) for question in topic.questions]


def _chosen(question: "Question") -> str:
    out.print(f"  {question.about}", markup=False)
    for number, choice in enumerate(question.choices, start=1):
        out.print(f"    {number}  {choice.shown}", markup=False)
    values = [choice.value for choice in question.choices]
    default = values.index(question.guess) + 1 if question.guess in values else 1
    numbers = [str(number) for number in range(1, len(values) + 1)]
    return values[IntPrompt.ask("  Which", choices=numbers, default=default, console=out) - 1]
