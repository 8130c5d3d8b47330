"""Which columns of a table hold two answers and the verdict on them: stated by options, or under usual names."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ..errors import InputError, examples
from ..reading.records import Options, Sample
from .shared import prompts
from .shared.prompts import PromptColumns

_STEMS: Final = ("output", "response", "answer", "completion", "generation", "reply")
_SUFFIXES: Final = (("_1", "_2"), ("1", "2"), ("_a", "_b"), ("a", "b"), ("_0", "_1"))
# A third answer beside the two: then a verdict on two of them means something else.
_THIRDS: Final[Mapping[str, tuple[str, ...]]] = {
    "_1": ("_0", "_3"),
    "1": ("0", "3"),
    "_a": ("_c",),
    "a": ("c",),
    "_0": ("_2",),
}
# Columns of published sets: SHP, the Preference Collection, and Stack Exchange's pairs, of which j is the better one.
_NAMED: Final = (("human_ref_a", "human_ref_b"), ("orig_response_a", "orig_response_b"), ("response_j", "response_k"))
_BETTER_FIRST: Final = "response_j"
_PROMPTS: Final = (*prompts.PROMPT_NAMES, "input", "orig_instruction", "history")
_VERDICTS: Final = (
    *("preference", "winner", "label", "labels", "choice", "preferred", "vote", "better_response_id"),
    *("better_response", "human_preference", "orig_preference", "verdict", "judgement", "judgment", "better"),
    *("better_answer", "preferred_response", "preferred_answer", "preferred_output", "human_choice"),
)
_BESIDE: Final[Mapping[str, tuple[str, ...]]] = {
    "tools": ("tools",),
    "rater": ("annotator", "rater", "judge", "annotator_id", "worker", "worker_id", "labeler", "user_id", "user"),
    "event_id": ("event_id", "comparison_id", "pair_id", "id"),
    "conversation_id": ("conversation_id", "chat_id", "thread_id", "session_id"),
    "created_at": ("created_at", "timestamp", "createdAt", "time", "tstamp"),
}
_SIDES: Final = ("first", "second")
OPTIONS: Final[Mapping[str, str]] = {
    **prompts.OPTIONS,
    "prompt": f"Column of the prompt; else the first of: {', '.join(_PROMPTS)}.",
    "first": "Column of the first answer; else output_1, response_a, answer1 and the like.",
    "second": "Column of the second answer.",
    "preference": f"Column that says which is better; else the first of: {', '.join(_VERDICTS)}.",
    "first_score": "Column of the first answer's score, of two the higher is better; else score_1, winner_model_a ...",
    "second_score": "Column of the second answer's score.",
    "first_model": "Column that names what gave the first answer; else generator_1, model_a and the like.",
    "second_model": "Column that names what gave the second answer.",
    **{name: f"Column of the {name}; else the first of: {', '.join(names)}." for name, names in _BESIDE.items()},
}
# Options that no other format has: who states one means two answers.
_OWN: Final = ("preference", "first_score", "second_score")


class Pair(NamedTuple):
    """The columns of two answers, and by what their names differ; empty where they were stated."""

    first: str
    second: str
    suffixes: tuple[str, str] = ("", "")

    @property
    def names(self) -> tuple[str, str]:
        """The two columns."""
        return self.first, self.second


class Columns(NamedTuple):
    """Where a table holds what.

    Attributes:
        pair: The two answers.
        prompt: What both answer, and the columns of what goes before and after it.
        preference: The verdict; None where scores say it, or where the first answer is always the better one.
        scores: The two scores.
        models: What gave the answers.
        beside: `rater` and others to their columns, those that there are.
    """

    pair: Pair
    prompt: PromptColumns
    preference: str | None
    scores: tuple[str, str] | None
    models: tuple[str | None, str | None]
    beside: Mapping[str, str]


def fits(sample: Sample, options: Options) -> bool:
    """Whether a sample has two answers, a prompt and a verdict under usual or stated names."""
    seen = _Names(sample.fields)
    stated = [options[name] for name in (*_SIDES, *_OWN) if name in options]
    if any(name in options for name in _OWN) and any(name in seen.fields for name in stated):
        return True
    pairs = seen.pairs(options)
    return bool(pairs) and bool(seen.prompts(options)) and _has_verdict(seen, options, pairs[0])


def _has_verdict(seen: "_Names", options: Options, pair: Pair) -> bool:
    return bool(seen.verdicts(options)) or pair.first.lower() == _BETTER_FIRST or seen.scores(options, pair) is not None


def columns_of(sample: Sample, options: Options) -> Columns:
    """Where the sample's table holds what.

    Raises:
        InputError: A column that is needed or stated is not there, or two could be meant.
    """
    seen = _Names(sample.fields)
    pairs, asked = seen.pairs(options), seen.prompts(options)
    _check_all(sample, options, seen)
    by_score = "first_score" in options and "preference" not in options
    verdicts, pair = [] if by_score else seen.verdicts(options), pairs[0]
    if len(pairs) > 1 or len(verdicts) > 1:
        option, found = ("first", [one.first for one in pairs]) if len(pairs) > 1 else ("preference", verdicts)
        raise InputError(
            f"{sample.name}: columns {' and '.join(found)} could each be the {option}. "
            f"State it in events.options, for example {option}: {found[0]}."
        )
    found_beside = {name: seen.first_of(_stated(options, name) or usual) for name, usual in _BESIDE.items()}
    beside = {name: column for name, column in found_beside.items() if column is not None}
    return Columns(
        pair=pair,
        prompt=_prompt_columns(options, asked[0]),
        preference=verdicts[0] if verdicts else None,
        scores=None if verdicts else seen.scores(options, pair),
        models=seen.models(options, pair),
        beside=beside,
    )


def _prompt_columns(options: Options, asked: str) -> PromptColumns:
    """The columns of a prompt of which one is found; SHP's `history` is no earlier turns but the prompt itself."""
    columns = prompts.prompt_columns({**options, "prompt": asked})
    return columns._replace(history=tuple(name for name in columns.history if name != asked))


def _check_all(sample: Sample, options: Options, seen: "_Names") -> None:
    pairs = seen.pairs(options)
    needed = {"first and second": bool(pairs), "prompt": bool(seen.prompts(options))}
    needed["preference"] = not pairs or _has_verdict(seen, options, pairs[0])
    absent = [f"{name} ('{options[name]}')" for name in OPTIONS if name in options and options[name] not in seen.fields]
    names = absent or [name for name, there in needed.items() if not there]
    if not names:
        return
    raise InputError(
        f"{sample.name}: no column for {', '.join(names)} among: {examples(sample.fields, 20)}. State the columns in "
        f"events.options: prompt, first, second, and preference or first_score and second_score."
    )


def _stated(options: Options, *names: str) -> tuple[str, ...]:
    return tuple(options[name] for name in names if name in options)


class _Names:
    """The columns of a table, found in any case."""

    def __init__(self, fields: list[str]) -> None:
        self.fields = fields
        self._by_name = {name.strip().lower(): name for name in reversed(fields)}

    def first_of(self, names: Iterable[str]) -> str | None:
        return next((self._by_name[name.lower()] for name in names if name.lower() in self._by_name), None)

    def pairs(self, options: Options) -> list[Pair]:
        """The stated pair, or all that there are under usual names."""
        stated = _stated(options, *_SIDES)
        if stated:
            return [Pair(stated[0], stated[1])] if len(stated) == len(_SIDES) else []
        named = [Pair(first, second, ("_a", "_b")) for first, second in _NAMED]
        usual = [Pair(stem + one, stem + two, (one, two)) for stem in _STEMS for one, two in _SUFFIXES]
        return [found for pair in named + usual if (found := self._pair(pair)) is not None]

    def _pair(self, pair: Pair) -> Pair | None:
        first, second = (self._by_name.get(name) for name in pair.names)
        stem = pair.first.removesuffix(pair.suffixes[0])
        if first is None or second is None or any(stem + third in self._by_name for third in _THIRDS[pair.suffixes[0]]):
            return None
        return Pair(first, second, pair.suffixes)

    def prompts(self, options: Options) -> list[str]:
        found = [self.first_of([name]) for name in _stated(options, "prompt") or _PROMPTS]
        return [name for name in found if name is not None]

    def verdicts(self, options: Options) -> list[str]:
        found = [self.first_of([name]) for name in _stated(options, "preference") or _VERDICTS]
        return [name for name in found if name is not None]

    def scores(self, options: Options, pair: Pair) -> tuple[str, str] | None:
        stated = _stated(options, "first_score", "second_score")
        if stated:
            return (stated[0], stated[1]) if len(stated) == len(_SIDES) else None
        for pattern in ("score{}", "{}_score", "winner_model{}", "rating{}", "{}_rating"):
            first, second = (self.first_of([name]) for name in _about(pattern, pair))
            if first is not None and second is not None:
                return first, second
        return None

    def models(self, options: Options, pair: Pair) -> tuple[str | None, str | None]:
        patterns = [_about(pattern, pair) for pattern in ("generator{}", "model{}", "{}_model", "model_name{}")]
        first, second = (
            self.first_of(_stated(options, f"{side}_model") or [names[place] for names in patterns])
            for place, side in enumerate(_SIDES)
        )
        return first, second


def _about(pattern: str, pair: Pair) -> list[str]:
    """Names of something about each answer: `model{}` takes what tells the two apart, `{}_model` the whole name."""
    parts = pair.names if pattern.startswith("{}") else pair.suffixes
    # Stated columns tell nothing about others.
    return [pattern.format(part) if part else "" for part in parts]
