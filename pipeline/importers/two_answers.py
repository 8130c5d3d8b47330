"""Two answers to a prompt in one row, each in a column, and which of them was preferred.

The verdict is a column of its own, whose values say which answer is better, or two columns of scores, of which the
higher is. Answers' own names are known as values (`output_2`, `model_a`, `A`, the name of a model), and so are ties. Of
numbers, 1 and 2 are the answers of those names, and 1.5 or 0 their tie, as AlpacaEval writes them, only where the whole
column is on that scale: 0 and 1 alone could mean either answer, so they are stated by `first_wins` and `second_wins`.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..reading.files import take_sample
from ..reading.records import Options, Source
from .base import Batch, ImporterSpec, Message, RawEvent, Row, read_rows
from .shared import prompts, times, values
from .shared.calls import offered_tools
from .shared.embedded import parsed
from .shared.labels import label_options
from .shared.messages import Answer, answer, said
from .shared.votes import compared
from .two_answers_columns import OPTIONS, Columns, columns_of, fits
from .two_answers_verdicts import Verdicts, outcome_of, verdicts_of

NAME: Final = "two_answers"


class Layout(NamedTuple):
    """How the rows of one table are read.

    Attributes:
        columns: Where it holds what.
        verdicts: What its verdicts mean.
        time_unit: What a numeric time counts.
    """

    columns: Columns
    verdicts: Verdicts
    time_unit: str


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the comparisons.

    Raises:
        InputError: A column that is needed or stated is not there, or two could be meant.
        ConfigError: Stated labels collide.
    """
    columns = columns_of(take_sample(source), options)
    layout = Layout(columns, verdicts_of(source, columns, options), values.time_unit(options))
    return read_rows(source, lambda record: _events(record.value, layout))


def _events(row: Row, layout: Layout) -> list[RawEvent]:
    outcome = outcome_of(row, layout.columns, layout.verdicts)
    beside = layout.columns.beside
    first, second = (
        RawEvent(
            side.prompt,
            **side.said._asdict(),
            source_event_id=values.identifier(row, beside.get("event_id")),
            conversation_id=values.identifier(row, beside.get("conversation_id")),
            user_id=values.identifier(row, beside.get("rater")),
            model=values.identifier(row, layout.columns.models[index]),
            created_at=values.time(row, beside.get("created_at"), layout.time_unit),
            position=index + 1,
            tools=offered_tools(row.get(beside["tools"]), beside["tools"]) if "tools" in beside else None,
        )
        for index, side in enumerate(_sides(row, layout.columns))
    )
    return compared(first, second, outcome, "preference")


class _Side(NamedTuple):
    prompt: list[Message]
    said: Answer


def _sides(row: Row, columns: Columns) -> tuple[_Side, _Side]:
    """Each answer with the messages before it."""
    asked = str(prompts.prompt_name(row, columns.prompt))
    told = [values.present(row, name) for name in (asked, *columns.pair.names)]
    turns = [_turns(value) for value in told]
    if all(entries is not None and len(entries) == len(turns[0] or ()) for entries in turns):
        of_prompt, *answers = [entries or [] for entries in turns]
        first, second = (_conversation(row, columns, of_prompt, answered) for answered in answers)
        return first, second
    both = [answer(value, name) for value, name in zip(told[1:], columns.pair.names, strict=True)]
    prompt = prompts.before_answers(prompts.prompt_of(row, columns.prompt), asked, list(map(said, both)))
    return _Side(prompt, both[0]), _Side(prompt, both[1])


def _turns(value: Any) -> list[Any] | None:
    """The texts of a conversation's turns, as arenas write them: a list of texts, or JSON of one."""
    entries = parsed(value, ("[",))
    plain = isinstance(entries, list) and entries and all(isinstance(entry, str | None) for entry in entries)
    return entries if plain else None


def _conversation(row: Row, columns: Columns, asked: list[Any], answered: list[Any]) -> _Side:
    turns = [
        {"role": role, "content": values.text({"turn": text}, "turn", empty="no_text")}
        for turn in zip(asked, answered, strict=True)
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    return _Side(prompts.in_context(row, columns.prompt, turns[:-1]), Answer(turns[-1]["content"]))


SPEC: Final = ImporterSpec(
    name=NAME,
    description="Two answers a row and which is better: AlpacaEval, LLMBar, SHP, arena tables, or columns you state.",
    detect=fits,
    read=read,
    options={
        **OPTIONS,
        **label_options({"1": "first", "2": "second", "1.5": "tied", "both_bad": "both_bad"}),
        **times.OPTIONS,
    },
)
