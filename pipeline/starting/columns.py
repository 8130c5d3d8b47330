"""Which column of a table holds what, by its name and by what is in it, where no format knows the table."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ..errors import InputError, examples
from ..importers.shared import fields
from ..reading.records import Sample
from .profiles import MOST_LABELS, Profile, profiles
from .questions import Ask, Choice, Question, Topic

REQUIRED: Final = ("vote", "prompt", "completion")
# Names that are not among the log's usual ones, without case, spaces and signs.
_HINTS: Final[Mapping[str, str]] = {
    "prompt": "q ask asked user human request problem post message usermessage userinput userprompt userquery text_in "
    "userquestion humanmessage inputtext questiontext customermessage customerquestion chatinput frage pregunta",
    "completion": "a bot assistant ai said replied generated generation result modeloutput modelresponse modelanswer "
    "botreply botresponse botmessage botanswer assistantmessage assistantresponse assistantreply airesponse aianswer "
    "aimessage generatedtext llmoutput llmresponse llmanswer replytext answertext responsetext antwort respuesta",
    "vote": "stars star score label good helpful ishelpful isgood like liked islike isliked sentiment satisfied "
    "quality satisfaction washelpful helpfulness upvoted thumbsup thumbup emoji verdict grade evaluation userrating "
    "csat nps userfeedback feedbackscore feedbackvalue userscore rate rated opinion hilfreich bewertung positive "
    "correct",
    "user_id": "uid username userid customer customerid account accountid member memberid visitor visitorid who rater "
    "raterid annotator annotatorid reviewer email useremail",
    "created_at": "ts date datetime created createdon when sentat loggedat ratedat submittedat eventtime createdtime "
    "votedat datum zeit",
    "conversation_id": "conversation dialogid dialogueid session chat thread conv convid convo",
    "event_id": "messageid rowid uuid voteid ratingid interactionid logid traceid",
    "model": "llm engine generator",
}  # fmt: skip
_SIGNS: Final = re.compile(r"[\W_]+")
_BY_NAME: Final = 2.5
_BY_PART: Final = 1.0
_LIKELY: Final = 0.6
_WHOLE: Final = 0.9
_FEW_WORDS: Final = 1.5
_SENTENCE: Final = 3.0


class _Candidate(NamedTuple):
    """A column that may hold a field: how much its name says so, and how much its values do, from 0 to 1."""

    column: str
    by_name: float
    fit: float

    @property
    def score(self) -> float:
        return self.by_name + 2.0 * self.fit


class NoColumnError(InputError):
    """A table has no column that can be what a product log must have."""


class Guess(NamedTuple):
    """Which column holds a field.

    Attributes:
        field: A field of a product log.
        column: The likeliest.
        others: Columns that may hold it too.
        sure: Whether the name says it, and no other column's does.
    """

    field: str
    column: str
    others: tuple[str, ...]
    sure: bool


def guess_columns(sample: Sample, stated: Mapping[str, str]) -> list[Guess]:
    """Columns of a table for what a product log must have and is not stated.

    Args:
        sample: Its first rows.
        stated: Field to column.

    Raises:
        NoColumnError: No column can be the prompt, the answer or the vote.
    """
    seen = [profile for profile in profiles(sample) if profile.name not in stated.values()]
    needed = [field for field in REQUIRED if field not in stated]
    candidates = {field: _candidates(field, seen) for field in needed}
    found = _assigned(candidates)
    missing = [field for field in needed if field not in found]
    if missing:
        raise NoColumnError(_nothing_for(sample, missing))
    return [_guess(field, found, candidates[field]) for field in needed]


def rivals(sample: Sample, columns: Mapping[str, str]) -> list[Guess]:
    """Prompts and answers for which a table has two columns of text with usual names.

    Args:
        sample: Its first rows.
        columns: Field to column, as the table is read.
    """
    seen = [profile for profile in profiles(sample) if profile.name not in columns.values()]
    found = []
    for field in ("prompt", "completion"):
        others = [one.name for one in seen if one.name in fields.NAMES[field] and _is_text(one)]
        if field in columns and others:
            found.append(Guess(field, columns[field], tuple(others), sure=False))
    return found


def further_columns(sample: Sample, stated: Mapping[str, str]) -> dict[str, str]:
    """Field to column of what a product log need not have, where a name and its values say so.

    Args:
        sample: Its first rows.
        stated: Field to column.
    """
    seen = profiles(sample)
    found: dict[str, str] = {}
    for field in (field for field in _HINTS if field not in REQUIRED and field not in stated):
        taken = {*stated.values(), *found.values()}
        named = [one for one in _candidates(field, seen) if one.by_name >= _BY_NAME and one.column not in taken]
        if named:
            found[field] = max(named, key=lambda one: one.score).column
    return found


def asked_columns(sample: Sample, guesses: Sequence[Guess], ask: Ask) -> dict[str, str]:
    """Field to column: the sure ones, and those that the answers name."""
    unsure = [guess for guess in guesses if not guess.sure]
    found = {guess.field: guess.column for guess in guesses}
    if not unsure:
        return found
    shown = {profile.name: profile.example for profile in profiles(sample)}
    questions = tuple(
        Question(
            f"the {_MEANT[guess.field]}",
            tuple(Choice(name, f"{name}: {shown.get(name, '')}") for name in (guess.column, *guess.others)),
            guess.column,
            "its values look like it" if guess.others else "no other column could be it",
        )
        for guess in unsure
    )
    state = {guess.field: guess.column for guess in unsure}
    topic = Topic(f"{sample.name}: which column is it?", questions, state)
    return found | dict(zip((guess.field for guess in unsure), ask(topic), strict=True))


_MEANT: Final[Mapping[str, str]] = {"prompt": "prompt", "completion": "answer", "vote": "vote"}


def _guess(field: str, found: Mapping[str, str], candidates: Sequence[_Candidate]) -> Guess:
    column = found[field]
    others = [one for one in candidates if one.column != column and one.column not in found.values()]
    by_name = {one.column: one.by_name for one in candidates}
    rivals = [one for one in others if one.by_name >= _BY_NAME]
    likely = tuple(one.column for one in others if one.fit >= _LIKELY or one.by_name >= _BY_NAME)
    return Guess(field, column, likely, sure=by_name[column] >= _BY_NAME and not rivals)


def _assigned(candidates: Mapping[str, Sequence[_Candidate]]) -> dict[str, str]:
    """Field to column, each column once, the likeliest first."""
    ranked = sorted(
        ((one.score, field, one.column) for field, listed in candidates.items() for one in listed),
        key=lambda entry: -entry[0],
    )
    found: dict[str, str] = {}
    for _, field, column in ranked:
        if field not in found and column not in found.values():
            found[field] = column
    return found


def _candidates(field: str, seen: Sequence[Profile]) -> list[_Candidate]:
    places = {profile.name: place / (10 * len(seen)) for place, profile in enumerate(seen)}
    # A question stands before its answer.
    order = {"prompt": -1.0, "completion": 1.0}.get(field, 0.0)
    listed = [
        _Candidate(profile.name, _named(field, profile.name) + order * places[profile.name], _fit(field, profile))
        for profile in seen
    ]
    return [one for one in listed if one.fit >= (_LIKELY if one.by_name < _BY_PART / 2 else 0.3)]


def _named(field: str, column: str) -> float:
    name = _SIGNS.sub("", column.lower())
    usual = {_SIGNS.sub("", one.lower()) for one in (*fields.NAMES[field], *_HINTS.get(field, "").split())}
    if name in usual:
        return _BY_NAME + 0.5
    words = _SIGNS.split(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower())
    return _BY_PART if usual.intersection(words) else 0.0


def _fit(field: str, profile: Profile) -> float:
    if field in ("prompt", "completion"):
        return _text_fit(field, profile)
    if field == "vote":
        return _vote_fit(profile)
    if field == "created_at":
        return profile.times
    return 0.0 if profile.words >= _SENTENCE or profile.lists else 1.0


def _is_text(profile: Profile) -> bool:
    return not profile.lists and _text_fit("completion", profile) >= _LIKELY


def _text_fit(field: str, profile: Profile) -> float:
    if profile.lists >= _WHOLE:
        return 1.0 if field == "prompt" else 0.7
    if profile.texts < _WHOLE or profile.known or profile.times >= _WHOLE or profile.numbers >= _WHOLE:
        return 0.0
    if profile.words >= _SENTENCE:
        return 1.0
    return 0.7 if profile.words >= _FEW_WORDS else 0.3


def _vote_fit(profile: Profile) -> float:
    if profile.known >= _WHOLE:
        return 1.0
    few = profile.distinct <= MOST_LABELS and (profile.distinct < profile.filled or profile.filled == 1)
    if profile.labels < _WHOLE or profile.times >= _WHOLE or profile.words >= _SENTENCE:
        return 0.0
    if not few:
        return 0.3 if profile.numbers >= _WHOLE else 0.0
    return 0.8 if profile.known or profile.numbers >= _WHOLE else 0.5


def _nothing_for(sample: Sample, missing: Sequence[str]) -> str:
    what = " and ".join(f"the {_MEANT[field]}" for field in missing)
    state = ", ".join(f"{field}: COLUMN" for field in missing)
    return (
        f"{sample.name}: no column can be {what} among: {examples(sample.fields, 20)}. "
        f"If one is, state it: --set 'events.options={{{state}}}'. `thumbline formats` lists what is read besides."
    )
