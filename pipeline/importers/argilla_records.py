"""The three shapes in which Argilla's records hold responses, as one.

A server's record lists its responses, each with the values of all questions; the SDK's own export holds, by question,
the values of all users; a data set's table has three columns a question: `q.responses`, `q.responses.users` and
`q.responses.status`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from ..reading.records import RowError, Sample
from .base import Row
from .shared import values
from .shared.threads import listed, nested

SUFFIX: Final = ".responses"


class Response(NamedTuple):
    """One person's answers to some questions of one record.

    Attributes:
        user_id: Who answered.
        status: `submitted`, `draft`, `discarded`, or what else the record says; None where it says nothing.
        values: Question to its answer.
        row: What holds the time, if anything does.
    """

    user_id: str | None
    status: Any
    values: dict[str, Any]
    row: dict[str, Any]


def is_record(row: dict[str, Any]) -> bool:
    """Whether a row is a record in one of the shapes."""
    if isinstance(row.get("fields"), dict):
        return isinstance(row.get("responses"), list | dict)
    return bool(_table_questions(row))


def questions(sample: Sample) -> list[str]:
    """Names of all questions that somebody answered, in order of first sight."""
    names: dict[str, None] = {}
    for row in sample.records:
        responses = row.get("responses")
        if isinstance(responses, dict):
            names.update(dict.fromkeys(responses))
        elif isinstance(responses, list):
            entries = [entry.get("values") for entry in responses if isinstance(entry, dict)]
            names.update(dict.fromkeys(name for entry in entries if isinstance(entry, dict) for name in entry))
        else:
            names.update(dict.fromkeys(_table_questions(row)))
    return list(names)


def answered(row: Row) -> set[str]:
    """The questions to which a record holds somebody's answer."""
    responses = row.get("responses")
    if isinstance(responses, dict):
        return {name for name, entries in responses.items() if entries}
    if isinstance(responses, list):
        given = [entry.get("values") for entry in responses if isinstance(entry, dict)]
        pairs = [pair for entry in given if isinstance(entry, dict) for pair in entry.items()]
        return {name for name, value in pairs if _value(value) is not None}
    return {name for name in _table_questions(row) if row.get(name + SUFFIX)}


def _table_questions(row: dict[str, Any]) -> list[str]:
    names = [name.removesuffix(SUFFIX) for name in row if name.endswith(SUFFIX)]
    return [name for name in names if f"{name}{SUFFIX}.status" in row or f"{name}{SUFFIX}.users" in row]


def fields(row: Row) -> dict[str, Any]:
    """The texts of a record by the names of its fields."""
    return nested(row, "fields") if "fields" in row else row


def responses(row: Row, asked: Iterable[str]) -> Iterator[Response]:
    """All responses of a record that concern the questions asked.

    Raises:
        RowError: They are in none of the shapes.
    """
    by_question = row.get("responses")
    if isinstance(by_question, dict):
        for question in asked:
            for entry in listed(by_question, question) if by_question.get(question) else []:
                user_id = values.identifier(entry, "user_id")
                yield Response(user_id, entry.get("status"), {question: entry.get("value")}, entry)
    elif by_question is not None:
        for entry in listed(row, "responses"):
            given = {name: _value(value) for name, value in nested(entry, "values").items()}
            yield Response(values.identifier(entry, "user_id"), entry.get("status"), given, entry)
    else:
        for question in asked:
            yield from _columns(row, question)


def _value(value: Any) -> Any:
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _columns(row: dict[str, Any], question: str) -> Iterator[Response]:
    given = row.get(question + SUFFIX)
    if given is None:
        return
    users, statuses = (row.get(f"{question}{SUFFIX}.{name}") for name in ("users", "status"))
    if not isinstance(given, list):
        raise RowError("wrong_type", f"field '{question}{SUFFIX}' is a {type(given).__name__}, not a list")
    for beside, name in ((users, "users"), (statuses, "status")):
        if beside is not None and (not isinstance(beside, list) or len(beside) != len(given)):
            raise RowError("wrong_type", f"field '{question}{SUFFIX}.{name}' is not a list as long as the responses")
    for index, value in enumerate(given):
        user_id = values.identifier({"user": users[index]}, "user") if users is not None else None
        yield Response(user_id, statuses[index] if statuses is not None else None, {question: value}, {})
