"""Tables of judged pairs as others publish them: which models, which of them was preferred, by whom and how shown."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from ..errors import InputError
from ..importers.shared import values
from ..importers.shared.labels import label_key, refusal
from ..importers.shared.messages import messages
from ..reading.records import Record, RowError

# A tie with which the judge said that both answers are bad: counted apart among the ties.
BOTH_BAD: Final = "both_bad"
_TIES: Final = ("tie", "tied", "draw", "equal", "tie (inconsistent)")
_BOTH_BAD: Final = ("tie (bothbad)", "both_bad", "bothbad", "both bad")
_GROUPS: Final = ("group_id", "prompt_id", "prompt", "instruction", "question", "question_id")
# Characters that no answer reaches: more is no count of them.
_LONGEST: Final = 1e12
_ARENA_MARKS: Final = frozenset({"tstamp", "anony", "evaluation_session_id", "evaluation_order", "timestamp"})


class JudgedRow(NamedTuple):
    """One verdict on two models' answers.

    Attributes:
        group: What the prompt is told by; None where the row names none.
        model_a: One model.
        model_b: The other.
        preference: 1 where a's answer is better, 0 where b's is, one half for a tie.
        judge: Who judged; None where the row does not say.
        pair: The same for every verdict on these two answers; None where that is not known.
        a_first: Whether a's answer was shown first; None where that is not known.
        length_a: Characters of a's answer; None where the row does not hold it.
        length_b: Characters of b's.
        both_bad: Whether the judge said so.
    """

    group: str | None
    model_a: str
    model_b: str
    preference: float
    judge: str | None = None
    pair: str | None = None
    a_first: bool | None = None
    length_a: int | None = None
    length_b: int | None = None
    both_bad: bool = False


Row: TypeAlias = Mapping[str, Any]


class JudgedLayout(NamedTuple):
    """One layout.

    Attributes:
        name: As `--layout` takes it.
        description: One line for people.
        needs: Columns that tell it.
        parse: The verdicts of a row; it raises RowError for one that gives none.
    """

    name: str
    description: str
    needs: frozenset[str]
    parse: Callable[[Record], list[JudgedRow]]


def _winner(row: Row, field: str, names: Mapping[str, float]) -> tuple[float, bool]:
    """The preference that a label means, and whether both answers are said to be bad."""
    verdict = values.present(row, field)
    known = {**names, **dict.fromkeys(_TIES, 0.5), **dict.fromkeys(_BOTH_BAD, 0.5)}
    key = label_key(verdict)
    if key not in known:
        raise refusal(verdict, field)
    return known[key], key in _BOTH_BAD


def _two(row: Row, first: str, second: str) -> tuple[str, str]:
    found = [values.identifier(row, field) for field in (first, second)]
    for field, name in zip((first, second), found, strict=True):
        if name is None:
            raise RowError("missing_field", f"field '{field}' names no model")
    if found[0] == found[1]:
        raise RowError("one_model", f"'{first}' and '{second}' are one model")
    return str(found[0]), str(found[1])


def _group(row: Row) -> str | None:
    for field in _GROUPS:
        value = row.get(field)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            more = row.get("input") if field == "instruction" else None
            return f"{field}:{value}" + (f"\n{more}" if isinstance(more, str) and more else "")
    said = _messages(row.get("conversation_a"))
    asked = [message["content"] for message in said if message["role"] == "user"]
    return f"prompt:{asked[0]}" if asked else None


def _messages(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    try:
        return [{"role": one["role"], "content": str(one["content"])} for one in messages(value, "it", empty="no_text")]
    except RowError:
        return []


def _length(row: Row, *fields: str) -> int | None:
    """Characters of an answer: a text, or what the assistant said in a conversation."""
    for field in fields:
        value = row.get(field)
        if isinstance(value, str) and not field.startswith("conversation"):
            return len(value)
        said = [len(one["content"]) for one in _messages(value) if one["role"] == "assistant"]
        if said:
            return sum(said)
    return None


def _arena(record: Record) -> list[JudgedRow]:
    row = record.value
    first, second = _two(row, "model_a", "model_b")
    names = {"model_a": 1.0, "a": 1.0, "model_b": 0.0, "b": 0.0}
    preference, both_bad = _winner(row, "winner", {label_key(second): 0.0, label_key(first): 1.0, **names})
    # The arena shows model_a on the left.
    shown = True if _ARENA_MARKS & row.keys() else None
    lengths = (_length(row, f"{stem}_{side}") for side in "ab" for stem in ("conversation",))
    length_a, length_b = lengths
    return [
        JudgedRow(
            _group(row), first, second, preference, _judge(row) or "votes", None, shown, length_a, length_b, both_bad
        )
    ]


def _judge(row: Row, *fields: str) -> str | None:
    for field in fields or ("judge", "annotator"):
        value = row.get(field)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
        if isinstance(value, list) and value and isinstance(value[0], str):
            return value[0]
    return None


def _one_hot(record: Record) -> list[JudgedRow]:
    row = record.value
    first, second = _two(row, "model_a", "model_b")
    flags = [_flag(row, field) for field in ("winner_model_a", "winner_model_b", "winner_tie")]
    if sum(flags) != 1:
        raise RowError("no_verdict", f"{sum(flags)} of winner_model_a, winner_model_b and winner_tie are 1")
    lengths = _length(row, "response_a"), _length(row, "response_b")
    return [JudgedRow(_group(row), first, second, (1.0, 0.0, 0.5)[flags.index(True)], None, None, None, *lengths)]


def _flag(row: Row, field: str) -> bool:
    value = label_key(values.present(row, field))
    if value not in {"0", "1", "true", "false"}:
        raise RowError("unknown_label", f"field '{field}' is neither 0 nor 1")
    return value in {"1", "true"}


def _number(row: Row, field: str) -> float:
    value = row.get(field)
    if value is None or value == "":
        raise RowError("no_verdict", f"field '{field}' is null, missing or empty")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if number != number or isinstance(value, bool):
        raise RowError("no_verdict", f"field '{field}' is no number")
    return number


def _alpaca_eval(record: Record) -> list[JudgedRow]:
    """Preference 1 is the first answer, 2 the second, what lies between how sure the judge is, 0 an older tie."""
    row = record.value
    first, second = _two(row, "generator_2", "generator_1")
    number = _number(row, "preference")
    if number == -1:
        raise RowError("no_verdict", "field 'preference' is -1: the annotation failed")
    if number != 0 and not 1 <= number <= 2:
        raise RowError("unknown_label", "field 'preference' is not from 1 to 2")
    preference = 0.5 if number == 0 else number - 1.0
    lengths = _length(row, "output_2"), _length(row, "output_1")
    return [JudgedRow(_group(row), first, second, preference, _judge(row, "annotator"), None, None, *lengths)]


def _llmfao(record: Record) -> list[JudgedRow]:
    row = record.value
    first, second = _two(row, "left", "right")
    preference, both_bad = _winner(row, "winner", {"left": 1.0, "right": 0.0})
    return [JudgedRow(_group(row), first, second, preference, "crowd", None, True, both_bad=both_bad)]


def _panda_lm(record: Record) -> list[JudgedRow]:
    """Three people's verdicts: 1 for the first answer, 2 for the second, 0 for a tie."""
    row = record.value
    first, _, second = values.text(row, "cmp_key", empty="no_model").partition("_")
    if not first or not second or "_" in second:
        raise RowError("no_model", "field 'cmp_key' is not two names with `_` between them")
    if first == second:
        raise RowError("one_model", "field 'cmp_key' names one model twice")
    lengths = _length(row, "response1"), _length(row, "response2")
    fields = [name for name in sorted(row) if name.startswith("annotator") and row[name] is not None]
    if not fields:
        raise RowError("no_verdict", "no field 'annotator1', ... holds a verdict")
    found = []
    for field in fields:
        number = _number(row, field)
        if number not in (0.0, 1.0, 2.0):
            raise RowError("unknown_label", f"field '{field}' is not 0, 1 or 2")
        preference = {0.0: 0.5, 1.0: 1.0, 2.0: 0.0}[number]
        found.append(JudgedRow(_group(row), first, second, preference, "annotators", None, None, *lengths))
    return found


def _own(record: Record) -> list[JudgedRow]:
    """A run's table `judged_pairs`."""
    row = record.value
    first, second = _two(row, "model", "baseline")
    if row.get("preference") is None:
        raise RowError("no_verdict", str(row.get("reason") or "field 'preference' is null"))
    shown = row.get("model_first")
    pair = "/".join(str(row.get(field)) for field in ("judge", "generation_id", "baseline_generation_id"))
    return [
        JudgedRow(_group(row), first, second, _share(row), _judge(row), pair, None if shown is None else bool(shown))
    ]


def _plain(record: Record) -> list[JudgedRow]:
    row = record.value
    first, second = _two(row, "model_a", "model_b")
    shown = None if row.get("a_first") in (None, "") else _flag(row, "a_first")
    pair = values.identifier(row, "pair_id")
    lengths = _count(row, "length_a"), _count(row, "length_b")
    return [JudgedRow(_group(row), first, second, _share(row), _judge(row), pair, shown, *lengths)]


def _share(row: Row) -> float:
    number = _number(row, "preference")
    if not 0 <= number <= 1:
        raise RowError("unknown_label", "field 'preference' is not from 0 to 1")
    return number


def _count(row: Row, field: str) -> int | None:
    """A length; one that is empty, or that no answer has, is not known."""
    if row.get(field) in (None, ""):
        return None
    number = _number(row, field)
    if not 0 <= number < _LONGEST:
        raise RowError("bad_length", f"field '{field}' is no length")
    return round(number)


def _layout(
    name: str, description: str, needs: str, parse: Callable[[Record], list[JudgedRow]]
) -> tuple[str, JudgedLayout]:
    return name, JudgedLayout(name, description, frozenset(needs.split()), parse)


# From the most to the least particular: the first whose columns are there is taken.
JUDGED_LAYOUTS: Final[Mapping[str, JudgedLayout]] = dict(
    (
        _layout("judged_pairs", "A run's own table.", "model baseline generation_id preference judge", _own),
        _layout("alpaca_eval", "AlpacaEval's annotations.", "generator_1 generator_2 preference", _alpaca_eval),
        _layout("llmfao", "LLMFAO's crowd.", "left right winner worker", _llmfao),
        _layout("panda_lm", "PandaLM's test set.", "cmp_key annotator1", _panda_lm),
        _layout(
            "arena_one_hot", "Arena votes, a column a verdict.", "model_a model_b winner_model_a winner_tie", _one_hot
        ),
        _layout("arena_votes", "Arena votes and MT-bench's judgments.", "model_a model_b winner", _arena),
        _layout("judged", "Two models and a preference from 0 to 1.", "model_a model_b preference", _plain),
    )
)


def judged_layout(columns: Mapping[str, Any] | list[str]) -> JudgedLayout | None:
    """The first layout whose columns are all there; None where it is no table of judged pairs."""
    return next((layout for layout in JUDGED_LAYOUTS.values() if layout.needs <= set(columns)), None)


def check_pairwise(columns: list[str], location: str) -> None:
    """Refuse a table of more than two models a row, which no layout reads.

    Raises:
        InputError: There is a third model.
    """
    if "model_c" in columns:
        raise InputError(f"{location}: its rows compare more than two models; split them into pairs first.")
