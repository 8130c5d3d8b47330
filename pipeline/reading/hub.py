"""Data sets of the hub, or a local folder of one (`hub:./folder`), as a source of rows.

The rows stream: nothing is copied to a cache, and memory does not grow with the data set. A damaged file inside a
data set cannot be guarded row by row and is an error.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..errors import InputError
from ..libraries import library
from ..reading.guard import has_lone_surrogate, has_nul
from ..reading.records import Options, Record, Reject, RowError, reject
from ..storage.digests import digest_file, digest_text
from .absent import without_absent

PREFIX: Final = "hub:"
OPTIONS: Final[Mapping[str, str]] = {
    "split": "Split to read (default train).",
    "name": "Configuration of the data set.",
    "revision": "Branch, tag or commit; pin it to make a run repeatable.",
}


class HubSource(NamedTuple):
    """A data set as a source of rows.

    Attributes:
        address: `hub:` and an id or a local folder.
        options: Of `OPTIONS`, which say what is loaded; others are the importer's.
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
            record = Record(index + 1, without_absent(value), None)
            if has_nul(value):
                yield reject(record, RowError("nul_character", "a text holds U+0000"))
            elif has_lone_surrogate(value):
                yield reject(record, RowError("lone_surrogate", "a text holds half of a surrogate pair"))
            else:
                yield record


def digest(address: str, options: Options) -> str:
    """What names the data set's content: its files' digests for a local folder, else id, name, split and revision."""
    location = address.removeprefix(PREFIX)
    named = [f"{name}={options.get(name, '')}" for name in OPTIONS]
    if not Path(location).is_dir():
        return digest_text(location, *named)
    files = sorted(path for path in Path(location).rglob("*") if path.is_file())
    return digest_text(*named, *(f"{path.relative_to(location).as_posix()}:{digest_file(path)}" for path in files))


def _load(location: str, options: Options) -> Iterator[dict[str, Any]]:
    if Path(location).is_dir() and set("[]*?") & set(str(Path(location).resolve())):
        raise InputError(
            f"{PREFIX}{location}: the library datasets takes [ ] * ? in a folder's path for a pattern, and would read "
            f"other folders. Rename the folder, or name its files without '{PREFIX}'."
        )
    datasets = library("datasets", f"the input {PREFIX}{location}")  # seconds to import, and only hub inputs need it
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
