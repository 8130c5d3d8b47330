"""A look at a log: its format, columns, labels, encoding and times, told by its values, and asked where unsure."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ..config import EventsConfig
from ..errors import InputError, examples
from ..importers import thumbs_jsonl
from ..importers.registry import DETECTED, importer
from ..importers.shared import fields
from ..importers.shared.labels import OUTCOMES
from ..ingest.plan import Plan, plan, plan_file, plan_hub
from ..reading import encodings
from ..reading.files import FileSource, take_sample
from ..reading.fitting import rows_inside
from ..reading.hub import HubSource
from ..reading.inputs import Inputs, expand_inputs
from ..reading.records import Sample
from .columns import NoColumnError, asked_columns, guess_columns, rivals
from .questions import Ask, Choice, Question, Topic
from .reading import FirstRead, SourceRead, read_first
from .stating import Stated, told
from .votes import Word, asked_words, stated, words_of

# Of more files only the first by name are looked at.
MOST_FILES: Final = 40
_OTHER_ENCODING: Final = "cp1252"


class Looked(NamedTuple):
    """What a look at a log found.

    Attributes:
        inputs: As they were given.
        files: Files that these stand for.
        skipped: What lies among them and is not read, by kind.
        format: What the run file states.
        options: What it states as `events.options`.
        whys: Option to what it was told by.
        read: The first rows under these.
        words: Labels and what each is taken for.
    """

    inputs: tuple[str, ...]
    files: int
    skipped: Mapping[str, int]
    format: str
    options: dict[str, str]
    whys: dict[str, str]
    read: FirstRead
    words: list[Word]

    @property
    def is_whole(self) -> bool:
        """Whether every row of every file was looked at."""
        return self.files == len(self.sources) and all(source.whole for source in self.sources)

    @property
    def has_users(self) -> bool:
        """Whether the log says who voted."""
        return self.read.events["user_id"].null_count() < len(self.read.events)

    @property
    def sources(self) -> list[SourceRead]:
        """What became of each input."""
        return self.read.sources


def look(config: EventsConfig, ask: Ask) -> Looked:
    """A look at the inputs of `config`, whose format and options are what the user states.

    Raises:
        InputError: An input stands for nothing, or holds nothing that can be a vote on an answer.
        ConfigError: The format or an option does not hold.
    """
    inputs = expand_inputs(config.inputs)
    found = _Look(config, ask)
    found.open(inputs)
    found.read()
    found.label()
    found.state()
    # What the run will do first: every file, and every option against the formats that there are.
    plan(inputs, found.config)
    return Looked(
        inputs=config.inputs,
        files=len(inputs.files) + len(inputs.addresses),
        skipped=inputs.skipped,
        format=found.config.format,
        options=dict(found.config.options),
        whys=found.whys,
        read=found.first,
        words=found.words,
    )


class _Look:
    """The steps of a look, each of which may state something that the next one reads by."""

    def __init__(self, config: EventsConfig, ask: Ask) -> None:
        self.config = config
        self.whys = dict.fromkeys(config.options, "stated")
        self.words: list[Word] = []
        self.plans: list[Plan] = []
        self.first: FirstRead
        self._ask = ask
        self._inputs = Inputs([], [], {})

    def open(self, inputs: Inputs) -> None:
        """Find how each file is read; columns that no format knows are told by their values."""
        self._inputs = inputs._replace(files=inputs.files[:MOST_FILES])
        self._plan()

    def _plan(self) -> None:
        stated = None if self.config.format in DETECTED else importer(self.config.format).name
        encoding = encodings.check_encoding(self.config.options.get(encodings.OPTION))
        self.plans = [
            self._planned(FileSource(file.path, file.name, self.config.max_line_bytes, encoding), stated, file.explicit)
            for file in self._inputs.files
        ]
        self.plans += [self._planned_hub(address, stated) for address in self._inputs.addresses]
        if not any(entry.format for entry in self.plans):
            raise InputError(self.plans[0].refusal)

    def _planned(self, source: FileSource, stated: str | None, explicit: bool) -> Plan:
        if source.content.foreign:
            return Plan(source, None, refusal=source.content.foreign)
        try:
            planned = plan_file(source, True, stated, self.config.options)
        except InputError as error:
            try:
                self._map_columns(rows_inside(source), error, stated)
            except NoColumnError as refusal:
                if explicit:
                    raise
                return Plan(source, None, refusal=str(refusal))
            return plan_file(source, True, stated, self.config.options)
        if planned.format == thumbs_jsonl.NAME:
            self._ask_rivals(take_sample(planned.source))
        return planned

    def _ask_rivals(self, sample: Sample) -> None:
        """Ask which of two columns with usual names holds the prompt or the answer, and state it."""
        if not sample.records:
            return
        columns = thumbs_jsonl.layout_of(sample, self.config.options).columns
        guesses = [guess for guess in rivals(sample, columns) if guess.field not in self.config.options]
        others = {guess.field: guess.others for guess in guesses}
        for field, column in asked_columns(sample, guesses, self._ask).items():
            why = "asked" if self._ask.how == "asked" else f"guessed: {examples(others[field])} may be it too"
            self.add(field, column, why)

    def _planned_hub(self, address: str, stated: str | None) -> Plan:
        source = HubSource(address, self.config.options)
        try:
            return plan_hub(source, stated, self.config.options)
        except InputError as error:
            self._map_columns(take_sample(source), error, stated)
            return plan_hub(HubSource(address, self.config.options), stated, self.config.options)

    def _map_columns(self, sample: Sample, error: InputError, stated: str | None) -> None:
        """State the columns of a table that no format knows.

        Raises:
            NoColumnError: It is no log.
            InputError: `error`, where its columns are stated and not there, or others than those of the files before.
        """
        if not sample.records or stated not in (None, thumbs_jsonl.NAME) or _is_two_answers(self.config.options):
            raise error
        named = {name: column for name, column in self.config.options.items() if name in fields.NAMES}
        absent = {name: column for name, column in named.items() if column and column not in sample.fields}
        if absent and all(self.whys[name] == "stated" for name in absent):
            raise error
        if absent:
            guess_columns(sample, {})  # refuses what is no log at all
            name, column = next(iter(absent.items()))
            raise InputError(
                f"{sample.name}: its columns ({examples(sample.fields, 8)}) are others than those of the files before "
                f"it, in which {column} is the {name}. A run file states the columns once: give each kind of file to a "
                "run file of its own, or rename its columns."
            )
        guesses = guess_columns(sample, named)
        sure = {guess.field: guess.sure for guess in guesses}
        for field, column in asked_columns(sample, guesses, self._ask).items():
            self.add(field, column, "found by its name" if sure[field] else f"{self._ask.how}, by its values")

    def add(self, option: str, value: str, why: str) -> None:
        """State an option."""
        self.whys[option] = why
        options = {**self.config.options, option: value}
        self.config = self.config.model_copy(update={"options": options})

    def read(self) -> None:
        """Read the first rows; again in another encoding where they are not UTF-8."""
        self.first = read_first(self.plans, self.config)
        wrong = self.first.rejects.filter(reason="invalid_utf8")
        if len(wrong) and encodings.OPTION not in self.config.options:
            self._ask_encoding(sorted(set(wrong["source_file"])), len(wrong))

    def _ask_encoding(self, names: Sequence[str], rows: int) -> None:
        choices = (
            Choice(_OTHER_ENCODING, f"{_OTHER_ENCODING}, that of Windows in the West"),
            Choice("latin-1", "latin-1"),
            Choice("", "UTF-8: these rows are damaged, and rejected"),
        )
        about = f"{rows:,} {'row is' if rows == 1 else 'rows are'} not UTF-8"
        question = Question(about, choices, _OTHER_ENCODING, "the usual other one")
        state = {encodings.OPTION: _OTHER_ENCODING}
        topic = Topic(f"{examples(names)}: which encoding is it?", (question,), state)
        (answer,) = self._ask(topic)
        if answer:
            self.add(encodings.OPTION, answer, f"{self._ask.how}: its bytes are not UTF-8")
            self._again()

    def _again(self) -> None:
        self._plan()
        self.first = read_first(self.plans, self.config)

    def label(self) -> None:
        """Say what each label means."""
        known = words_of(self.first.labels)
        name = examples([entry.name for entry in self.first.sources if entry.format], 1)
        self.words = asked_words(name, known, self._ask)
        unsure = {word.key for word in known if not word.known}
        asked = [word for word in self.words if word.key in unsure]
        takes = {option for entry in self.plans if entry.format for option in importer(entry.format).options}
        whole = stated(self.words)
        for option, labels in stated(asked).items():
            if option in takes:  # a format without it cannot be told
                before = self.config.options.get(option)
                self.add(option, whole[option] if before is None else f"{before}, {labels}", self._why(asked, option))

    def _why(self, asked: Sequence[Word], option: str) -> str:
        """What labels of an option were told by: whoever was asked, or what the guesses are made of."""
        if self._ask.how == "asked":
            return "asked"
        whys = dict.fromkeys(word.why for word in asked if word.meaning in (option, OUTCOMES.get(option)))
        return f"{self._ask.how}: {'; '.join(whys)}"

    def state(self) -> None:
        """State what was told by the fields: the format, its columns and the unit of times; read by these once more."""
        formats = {entry.format for entry in self.plans if entry.format}
        if self.config.format in DETECTED and len(formats) == 1:
            self.config = self.config.model_copy(update={"format": formats.pop()})
        for found in self._told():
            if found.option not in self.config.options:
                self.add(*found)
        self._order()
        self._again()

    def _order(self) -> None:
        """Put options in the order in which their format explains them."""
        if self.config.format not in DETECTED:
            order = [*importer(self.config.format).options]
            ranked = sorted(self.config.options, key=lambda name: order.index(name) if name in order else -1)
            options = {name: self.config.options[name] for name in ranked}
            self.config = self.config.model_copy(update={"options": options})

    def _told(self) -> list[Stated]:
        samples = [take_sample(entry.source) for entry in self.plans if entry.format == self.config.format]
        samples = [sample for sample in samples if sample.records]
        return told(self.config.format, samples, self.config.options, self.words)


def _is_two_answers(options: Mapping[str, str]) -> bool:
    return any(name in options for name in ("first", "second", "preference", "first_score"))
