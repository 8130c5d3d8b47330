"""Data sets of the hub, or a local folder of one (`hub:./folder`), read by the columns of their rows.

The rows stream: nothing is copied to a cache, and memory does not grow with the data set. A damaged file inside a
data set cannot be guarded row by row and is an error.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.artifacts import digest_file, digest_text
from pipeline.errors import ConfigError, InputError, MissingDependencyError, unknown_name
from pipeline.importers import (
    argilla,
    fastchat,
    finegrained_rlhf,
    helpsteer,
    hh_rlhf,
    open_assistant,
    thumbs_jsonl,
    trl,
)
from pipeline.importers.base import (
    Batch,
    ImporterSpec,
    Options,
    Record,
    Reject,
    RowError,
    Sample,
    Source,
    reject,
)
from pipeline.importers.files import take_sample
from pipeline.importers.guard import has_lone_surrogate, has_nul

NAME: Final = "hub"
PREFIX: Final = "hub:"
_OWN_OPTIONS: Final = ("split", "name", "revision")
# What is published as a data set, in the registry's order; logs of tools are files.
_INNER: Final = (
    fastchat.SPEC,
    open_assistant.SPEC,
    finegrained_rlhf.SPEC,
    argilla.SPEC,
    helpsteer.SPEC,
    hh_rlhf.SPEC,
    trl.SPEC,
    thumbs_jsonl.SPEC,
)


class HubSource(NamedTuple):
    """A data set as a source of rows.

    Attributes:
        address: `hub:` and an id or a local folder.
        options: The importer's options; `split`, `name` and `revision` say what is loaded.
    """

    address: str
    options: Options

    @property
    def name(self) -> str:
        """The address as the user gave it."""
        return self.address

    def rows(self) -> Iterator[Record | Reject]:
        """Every row of the split; the first is 1."""
        for index, value in enumerate(_load(self.address.removeprefix(PREFIX), self.options)):
            record = Record(index + 1, value, None)
            if has_nul(value):
                yield reject(record, RowError("nul_character", "a text holds U+0000"))
            elif has_lone_surrogate(value):
                yield reject(record, RowError("lone_surrogate", "a text holds half of a surrogate pair"))
            else:
                yield record


def detect(sample: Sample, options: Options) -> bool:
    """Whether the source was named as a hub data set; a file never is."""
    return sample.name.startswith(PREFIX)


def read(source: Source, options: Options) -> Iterator[Batch]:
    """Batches of the data set, read as the first importer that knows its columns.

    Raises:
        InputError: The data set does not load, or no importer knows its columns.
        ConfigError: An option is not one of the importer that does.
    """
    sample = take_sample(source)
    inner = {name: value for name, value in options.items() if name not in _OWN_OPTIONS}
    for spec in _INNER:
        if spec.detect(sample, inner):
            for name in inner:
                if name not in spec.options:
                    unknown = unknown_name(f"option of {spec.name}", name, spec.options or ["none"])
                    raise ConfigError(f"{source.name}: {unknown}")
            return spec.read(source, inner)
    known = ", ".join(spec.name for spec in _INNER)
    raise InputError(f"{source.name}: columns {', '.join(sample.fields)} are rows of none of {known}; map them.")


def digest(address: str, options: Options) -> str:
    """What names the data set's content: its files' digests for a local folder, else id, name, split and revision."""
    location = address.removeprefix(PREFIX)
    named = [f"{name}={options.get(name, '')}" for name in _OWN_OPTIONS]
    if not Path(location).is_dir():
        return digest_text(location, *named)
    files = sorted(path for path in Path(location).rglob("*") if path.is_file())
    return digest_text(*named, *(f"{path.relative_to(location).as_posix()}:{digest_file(path)}" for path in files))


def _load(location: str, options: Options) -> Iterator[dict[str, Any]]:
    try:
        import datasets  # seconds to import, and only hub inputs need it
    except ImportError as error:
        raise MissingDependencyError("hub inputs need the library datasets: pip install datasets.") from error
    # The library raises errors of its own, of the file readers and of the network: all mean that it did not load.
    try:
        rows = datasets.load_dataset(
            location,
            options.get("name"),
            split=options.get("split", "train"),
            revision=options.get("revision"),
            streaming=True,
        )
    except Exception as error:  # `datasets` runs readers of many libraries, whose errors share no type
        raise InputError(f"{PREFIX}{location}: no data set loads ({type(error).__name__}: {error}).") from error
    try:
        yield from rows
    except Exception as error:  # as above
        # Not the error's own words: once rows are read they may hold text of the data set.
        raise InputError(f"{PREFIX}{location}: a row does not load ({type(error).__name__}).") from error


SPEC: Final = ImporterSpec(
    name=NAME,
    description=f"`hub:ID` or `hub:./folder`: a data set of the hub, read as {', '.join(one.name for one in _INNER)}.",
    detect=detect,
    read=read,
    options={
        "split": "Split to read (default train).",
        "name": "Configuration of the data set.",
        "revision": "Branch, tag or commit; pin it to make a run repeatable.",
        **{name: meaning for one in _INNER for name, meaning in one.options.items()},
    },
)
