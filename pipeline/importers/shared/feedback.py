"""What formats with named feedback have in common: which names are votes, whose judgement counts, what a label means.

A tracing tool keeps thumbs beside correctness, toxicity and other scores under one roof, and a model's judgement
beside a person's. Only feedback whose name is known or stated is a vote, and only a person's: the rest is rejected with
its reason, so that it is counted. A number means something only where the format fixes it, or an option states it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from ...errors import ConfigError
from ...reading.records import Options, RowError, bounded_label
from ..base import Message
from . import chat, values
from .labels import described, label_key
from .messages import said

NAMES: Final = (
    "user-feedback",
    "user_feedback",
    "user feedback",
    "user-score",
    "user_score",
    "user-rating",
    "user_rating",
    "feedback",
    "rating",
    "thumb",
    "thumbs",
)
LABEL_OPTIONS: Final[Mapping[str, str]] = {vote: described(vote, labels) for vote, labels in values.VOTE_LABELS.items()}
TEXT_OPTIONS: Final[Mapping[str, str]] = {
    "prompt": "Dotted path to the prompt in what went in, such as inputs.question; else usual names are tried.",
    "completion": "Dotted path to the answer in what came out; else usual names are tried.",
}
NAME_OPTION: Final[Mapping[str, str]] = {
    "name": f"Names of feedback, comma separated, that are votes; else: {', '.join(NAMES)}.",
}
ANNOTATOR_OPTION: Final[Mapping[str, str]] = {
    "annotators": "Whose judgement is a vote: human (default), or all, also that of models and code.",
}


class Settings(NamedTuple):
    """The options that formats with named feedback share.

    Attributes:
        labels: Label to vote.
        names: Names, lower case, of feedback that is a vote; None for all.
        human_only: Whether a model's or a program's judgement is left out.
        prompt: Keys to the prompt in what went in.
        completion: Keys to the answer in what came out.
    """

    labels: Mapping[str, str]
    names: frozenset[str] | None
    human_only: bool
    prompt: tuple[str, ...]
    completion: tuple[str, ...]

    def check_name(self, name: Any) -> None:
        """Raise RowError unless feedback of this name is a vote."""
        if self.names is None or (isinstance(name, str) and name.strip().lower() in self.names):
            return
        raise RowError(
            "other_feedback", f"its name is {bounded_label(name)}; if that is a vote, state the option `name`"
        )

    def check_human(self, human: bool, shown: object) -> None:
        """Raise RowError where a person is asked for and this is none.

        Args:
            human: Whether a person judged.
            shown: Who did, as the log names it.
        """
        if self.human_only and not human:
            raise RowError("not_human", f"it comes from {bounded_label(shown)}; the option `annotators: all` takes it")

    def vote(self, row: Mapping[str, Any], *fields: str) -> str:
        """The vote that `fields` agree on; unrated where all are null.

        A number of an unknown scale beside a known label is left alone; an unknown label never is.

        Raises:
            RowError: No field is there, a label is unknown, or two fields are different votes.
        """
        stated = [field for field in fields if row.get(field) is not None]
        if not stated:
            return values.vote(row, next((field for field in fields if field in row), fields[0]), self.labels)
        votes = {field: self.labels.get(label_key(row[field])) for field in stated}
        distinct = {vote for vote in votes.values() if vote is not None}
        if len(distinct) > 1:
            raise RowError("contradiction", f"fields {' and '.join(map(repr, stated))} are different votes")
        unknown = [field for field in stated if votes[field] is None and not (distinct and is_number(row[field]))]
        known = next((field for field in stated if votes[field] is not None), stated[0])
        return values.vote(row, unknown[0] if unknown else known, self.labels)

    def messages(self, went_in: Any, came_out: Any, fields: tuple[str, str]) -> list[Message]:
        """Prompt and answer as one list of messages that ends in the answer.

        Args:
            went_in: What the model or chain was given.
            came_out: What it gave.
            fields: The names of the two, for the error.

        Raises:
            RowError: One of them is missing or has no text.
        """
        for value, field in zip((went_in, came_out), fields, strict=True):
            if value is None:
                raise RowError("missing_field", f"the trace's '{field}' is null or missing")
        prompt = chat.prompt_messages(went_in, fields[0], self.prompt)
        return [*prompt, said(chat.answer(came_out, fields[1], self.completion))]


def is_number(value: Any) -> bool:
    """Whether a value is a number, or one written as a text, as spreadsheets do."""
    if isinstance(value, str):
        return value.strip().lstrip("+-").replace(".", "", 1).isdigit()
    return isinstance(value, int | float) and not isinstance(value, bool)


def settings(
    options: Options, *, labels: Mapping[str, str] | None = None, names: Iterable[str] | None = NAMES
) -> Settings:
    """The settings under given options.

    Args:
        options: The importer's options.
        labels: Label to vote where the format itself fixes a scale, such as `{"1": "up"}`.
        names: Names of feedback that is a vote; None where the format has no names.

    Raises:
        ConfigError: An option's value does not hold.
    """
    stated = {vote: options[vote] for vote in values.VOTE_LABELS if vote in options}
    annotators = options.get("annotators", "human")
    if annotators not in ("human", "all"):
        raise ConfigError(f"option annotators is '{annotators}', not human or all.")
    chosen = options["name"].split(",") if "name" in options else names
    return Settings(
        labels=values.vote_table(stated).over(labels or {}),
        names=None if chosen is None else frozenset(name.strip().lower() for name in chosen),
        human_only=annotators == "human",
        prompt=chat.option_path(options, "prompt"),
        completion=chat.option_path(options, "completion"),
    )
