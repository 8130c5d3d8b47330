"""What a look at a log is not sure of: questions with a guess each. Who answers them is not said here."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Choice(NamedTuple):
    """One answer that a question takes, and how a person reads it."""

    value: str
    shown: str


class Question(NamedTuple):
    """One thing that is not sure.

    Attributes:
        about: What it is, such as `'stars' is 5 (40 rows)`.
        choices: The answers.
        guess: Value of the likeliest one; empty: there is nothing to tell it by.
        why: What the guess is made of.
    """

    about: str
    choices: tuple[Choice, ...]
    guess: str
    why: str

    @property
    def guessed(self) -> str:
        """The guess, as a person reads it."""
        return next((choice.shown for choice in self.choices if choice.value == self.guess), "")


class Topic(NamedTuple):
    """Questions that are asked together.

    Attributes:
        title: What they are about, as a question.
        questions: In the order in which they are asked.
        state: Options that state the guesses.
    """

    title: str
    questions: tuple[Question, ...]
    state: Mapping[str, str]


class Ask(Protocol):
    """Who answers."""

    @property
    def how(self) -> str:
        """What an answer is made of: `asked`, or `guessed`."""

    def __call__(self, topic: Topic) -> list[str]:
        """The values of the answers, one a question."""
