"""What was found in a log as a run file: every setting with what it means and why it is as it is."""

import os
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from ..config import EventsConfig, RunConfig, SplitsConfig, StageConfig, TrainConfig
from ..importers.registry import DETECTED, importer
from ..reading import encodings
from ..reading.hub import OPTIONS as HUB_OPTIONS
from ..reading.hub import PREFIX
from .amounts import Method
from .looking import Looked

_WIDTH: Final = 110
_BETA: Final = 0.1
_WITH_BETA: Final = ("dpo", "kto")
_NEARER: Final = "a larger beta keeps the model nearer to itself"
_RATE: Final = 5.0e-6
_USERS: Final = (
    "User ids are replaced by keyed hashes. The default key is public: set a secret of your own before tables leave "
    "this machine."
)


class Model(NamedTuple):
    """The model that is to be trained, and why it."""

    name: str
    why: str


def run_file(found: Looked, method: Method, model: Model, place: Path, name: str, command: str) -> str:
    """The text of a run file.

    Args:
        found: What the look at the log found.
        method: The training method, and why.
        model: The model, and why.
        place: Where the file will lie: inputs are relative to its folder.
        name: The run's name.
        command: What made it, for its first line.
    """
    lines = [
        *_comment(f"Made by: {command}"),
        *_comment("Whatever was told by the log's own values stands below; change what is not so."),
        "",
        *_setting(RunConfig, "name", name),
        *_setting(RunConfig, "model", model.name, model.why),
        "",
        "# What is read, and how.",
        "events:",
        *_indented(_events(found, place)),
        "",
        "# Which prompts are held out. The verdict is measured on the test split, which no training sees.",
        "splits:",
        *_indented(_setting(SplitsConfig, "validation", 0.1)),
        *_indented(_setting(SplitsConfig, "test", 0.2)),
        "",
        "# Which method trains the model, and how far.",
        "train:",
        *_indented(_setting(TrainConfig, "method", method.name, method.why)),
        *(_indented(_setting(TrainConfig, "loss", {"beta": _BETA}, _NEARER)) if method.name in _WITH_BETA else []),
        *_indented(_setting(TrainConfig, "learning_rate", _RATE, "LoRA adapters take about ten times as much")),
        *_indented(_setting(TrainConfig, "epochs", 1.0)),
    ]
    return "\n".join(lines) + "\n"


def _events(found: Looked, place: Path) -> list[str]:
    inputs = [relative(entry, place.absolute().parent) for entry in found.inputs]
    formats = ", ".join(sorted({source.format for source in found.sources if source.format}))
    kinds = ", ".join(sorted({source.holds for source in found.sources}))
    return [
        *_setting(EventsConfig, "inputs", inputs, f"they hold {kinds}"),
        *_setting(EventsConfig, "format", found.format, f"told by the fields: {formats}"),
        *(_options(found) if found.options else []),
        *([*_comment(_USERS), "# user_key: a-secret-of-your-own"] if found.has_users else []),
    ]


def _options(found: Looked) -> list[str]:
    lines = [*_comment(_meaning(EventsConfig, "options")), "options:"]
    meanings = meanings_of(found.format)
    for option, value in found.options.items():
        meaning = meanings.get(option, "").partition(", beside:")[0]
        lines += _indented(_commented(option, value, meaning.rstrip(".") + "." if meaning else "", found.whys[option]))
    for words in _labels(found):
        lines += _indented(_comment(words))
    return lines


def meanings_of(format_name: str) -> Mapping[str, str]:
    """Option to its meaning, of a format and of what reads its files."""
    own = {} if format_name in DETECTED else importer(format_name).options
    return {**encodings.OPTIONS, **HUB_OPTIONS, **own}


def _labels(found: Looked) -> Iterable[str]:
    """What each label is taken for, in a comment a meaning."""
    by_meaning: dict[str, list[str]] = {}
    for word in found.words:
        by_meaning.setdefault(word.meaning or "not known, so rejected", []).append(f"{word.shown} ({word.rows:,})")
    return (f"Taken for {meaning}, with rows looked at: {', '.join(listed)}." for meaning, listed in by_meaning.items())


def relative(entry: str, folder: Path) -> str:
    """An input as the run file in `folder` names it: relative to it where it lies below, an address as it is."""
    if entry.startswith(PREFIX) or "://" in entry:
        return entry
    path = os.path.normpath(Path.cwd() / entry)
    inside = os.path.relpath(path, folder)
    return path if inside.startswith(os.pardir + os.sep + os.pardir) else inside


def _setting(section: type[StageConfig], name: str, value: Any, why: str = "") -> list[str]:
    return _commented(name, value, _meaning(section, name), why)


def _meaning(section: type[StageConfig], name: str) -> str:
    return section.model_fields[name].description or ""


def _commented(name: str, value: Any, meaning: str, why: str) -> list[str]:
    told = f"{meaning} Here: {why.rstrip('.')}." if why and meaning else meaning or why
    return [*(_comment(told) if told else []), f"{name}: {scalar(value)}"]


def scalar(value: Any) -> str:
    """A value as YAML writes it in one line; a text in quotes where it would be read as anything else."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=100_000).strip()
    return text.removesuffix("...").strip()


def _comment(text: str) -> list[str]:
    # What YAML does not take even in a comment; names of columns and files may hold it.
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return [f"# {line}" for line in textwrap.wrap(plain, _WIDTH, break_long_words=False, break_on_hyphens=False)]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" if line else line for line in lines]
