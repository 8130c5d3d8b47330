"""The tables of a log as tasks of a cluster: each makes those of some prompts, and writes them for this process.

A task is given names of files and small settings, and gives names of files. What it has to know of the whole log lies
in a file too. The parts come back in the order of their prompts, so the tables are those of one machine.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from ..config import ResponsesConfig
from ..context import StageContext
from ..evidence.split_parts import frames_of, part_of_frames
from ..ingest import merging
from ..ingest.stored import Stored, shares
from ..stages import events, responses
from ..storage.frames import FrameFile, read_frames, take_frames, write_frames
from ..tables import TIME
from ..workers import IN_MEMORY, map_in_threads
from .reduce import Made, Reduce, Settings

# Files that are read ahead of what is written.
_READ_AHEAD: Final = 2
_OF_SPLITS: Final = "splits."


class Share(NamedTuple):
    """Prompts of a log that one task looks at.

    Attributes:
        number: Its place in the order of prompts.
        files: Their rows.
        origins: The file of what `merging.origins` gave.
        pass_bytes: How much is read at a time.
        folder: Where the task writes.
    """

    number: int
    files: Stored
    origins: FrameFile
    pass_bytes: int
    folder: Path

    def path(self, index: int, what: str) -> Path:
        """Where a part of what the task makes lies."""
        return self.folder / f"{self.number:06d}-{index:04d}.{what}"


class Making(NamedTuple):
    """What a task makes tables of.

    Attributes:
        share: Whose rows.
        settings: Of the stages that are made.
        known: The file of what the whole log says of single rows; None where no row needs it.
    """

    share: Share
    settings: Settings
    known: FrameFile | None


class Shares:
    """A log cut into the tasks that a cluster is given."""

    def __init__(self, log: events.SortedLog, context: StageContext) -> None:
        """Cut it; a log that is worth one task alone is not.

        Args:
            log: What was read.
            context: That of the stage `events`.
        """
        config, sizes, spread = context.config.events, context.sizes, context.spread
        self._log = log
        self._spread = spread
        self._most = events.tasks_at_a_time(log.files.size, config, sizes, spread) if spread.is_cluster else 1
        self._shares: list[Share] = []
        if self._most > 1:
            origins = write_frames(log.folder / "origins.frames", {"origins": log.origins})
            self._shares = [
                Share(number, files, origins, sizes.pass_bytes, log.folder)
                for number, files in enumerate(shares(log.files, config.partition_bytes))
            ]

    @property
    def are_several(self) -> bool:
        """Whether tasks have anything to share."""
        return len(self._shares) > 1

    def known(self, config: ResponsesConfig) -> responses.Shared:
        """What the whole log says of single rows."""
        files = chain.from_iterable(self._spread.map(find_facts, self._shares, self._most))
        facts = (
            responses.LogFacts(*(part[name].lazy() for name in responses.LogFacts._fields)) for part in taken(files)
        )
        return responses.shared(facts, config)

    def made(self, settings: Settings, known: responses.Shared | None) -> Iterator[Made]:
        """All rows of each part, counted by the log, in the order of prompts.

        Args:
            settings: Of the stages that are made.
            known: What the whole log says of single rows; None where no row needs it.
        """
        of_log = None if known is None else write_frames(self._log.folder / "known.frames", _frames_of(known))
        items = (Making(share, settings, of_log) for share in self._shares)
        files = chain.from_iterable(self._spread.map(make_tables, items, self._most))
        for frames in taken(files):
            if "events" in frames:
                self._log.count(frames)
            yield _made_of(frames)


def taken(files: Iterator[FrameFile]) -> Iterator[dict[str, pl.DataFrame]]:
    """The tables of each file, which is deleted."""
    return map_in_threads(take_frames, files, _READ_AHEAD)


def find_facts(share: Share) -> list[FrameFile]:
    """A task: the narrow tables of some prompts' events."""
    written = []
    parts = merging.read_events(share.files, _origins(share), share.pass_bytes, share.folder, threads=1)
    for index, part in enumerate(parts):
        facts = responses.log_facts(part.lazy())
        frames = dict(zip(facts._fields, pl.collect_all(list(facts), engine=IN_MEMORY), strict=True))
        written.append(write_frames(share.path(index, "facts"), frames))
    return written


def make_tables(making: Making) -> list[FrameFile]:
    """A task: all tables of some prompts."""
    share, known = making.share, None
    if making.known is not None:
        known = _known_of(read_frames(making.known))
    reduce = Reduce(making.settings, known)
    written = []
    parts = merging.read_parts(share.files, _origins(share), share.pass_bytes, share.folder, threads=1)
    for index, made in enumerate(reduce.joined(map(reduce.made, parts))):
        written.append(write_frames(share.path(index, "tables"), _frames_of_made(made)))
    return written


def _origins(share: Share) -> pl.DataFrame:
    return read_frames(share.origins)["origins"]


def _frames_of_made(made: Made) -> dict[str, pl.DataFrame]:
    of_splits = {} if made.splits is None else frames_of(made.splits)
    return made.tables | {f"{_OF_SPLITS}{name}": frame for name, frame in of_splits.items()}


def _made_of(frames: dict[str, pl.DataFrame]) -> Made:
    tables = {name: frame for name, frame in frames.items() if not name.startswith(_OF_SPLITS)}
    of_splits = {name.removeprefix(_OF_SPLITS): frame for name, frame in frames.items() if name not in tables}
    return Made(tables, part_of_frames(of_splits) if of_splits else None)


def _frames_of(known: responses.Shared) -> dict[str, pl.DataFrame]:
    newest = pl.DataFrame({"newest": [known.newest]}, schema={"newest": TIME})
    return known._asdict() | {"newest": newest}


def _known_of(frames: dict[str, pl.DataFrame]) -> responses.Shared:
    return responses.Shared(frames["raters"], frames["positions"], frames["newest"].item())
