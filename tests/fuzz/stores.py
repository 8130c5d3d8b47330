"""Shards of the store of log-probs, damaged: the rows that were written, or set aside."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import polars as pl

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.frames import damaged_frame, parquet_of
from tests.fuzz.operators import chance, pick, wounded
from thumbline.pipeline.engines.base import Score
from thumbline.pipeline.engines.store import LogpsStore
from thumbline.pipeline.storage.folders import open_folder

_KEY: Final = {"model": "m", "tokenizer": "t", "engine": "e", "route": "fake"}


def _store(folder: Path) -> LogpsStore:
    return LogpsStore(open_folder(folder), _KEY)


class Stores:
    """A store of two shards, with a value a token and without."""

    def __init__(self) -> None:
        with TemporaryDirectory() as place:
            store = _store(Path(place))
            self._rows = [store.write(self._scores(tokens)) for tokens in (None, (-1.0, -0.5, -0.25))]
            self._shards = {path.name: path.read_bytes() for path in sorted((Path(place) / store.name).iterdir())}

    @staticmethod
    def _scores(tokens: tuple[float, ...] | None) -> list[Score]:
        return [Score(f"s{place}", -1.75 - place, 3, tokens) for place in range(4)]

    def make(self, random: np.random.Generator) -> Case:
        """Shards of other bytes, of other rows under their own metadata, cut, spliced or under each other's name."""
        names = list(self._shards)
        name = pick(random, names)
        data = self._shards[name]
        if chance(random, 0.5):
            frame = damaged_frame(pl.read_parquet(io.BytesIO(data)), random)
            data = parquet_of(frame, pl.read_parquet_metadata(io.BytesIO(data)))
        if chance(random, 0.6):
            data = wounded(data, random)
        if chance(random, 0.05):
            data = self._shards[pick(random, names)]
        return Case(self._shards | {name: data})

    def read(self, case: Case, folder: Path) -> Outcome:
        """Read as a run reads; what was set aside is no longer there the next time."""
        store = _store(folder)
        place = folder / store.name
        place.mkdir()
        for name in case.files:
            (folder / name).rename(place / name)
        found = [*store.shards(token_logps=False), *store.shards(token_logps=True)]
        whole = [rows.select(frame.columns) for rows in self._rows for frame in found[:1]] + self._rows
        for frame in found:
            assert any(frame.equals(rows) for rows in whole), f"rows that nobody wrote: {frame.rows()}"
        return "read" if len(list(place.glob("*.parquet"))) == len(case.files) else "rejected"

    def settle(self) -> None:
        """Nothing is left."""
