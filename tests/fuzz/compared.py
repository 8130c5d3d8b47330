"""Two evaluations of the same rows, one of them damaged: compared number by number, or refused in words."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.frames import damaged_frame, parquet_of
from tests.fuzz.operators import chance, damaged_rows, pick, wounded
from tests.fuzz.refusing import refused
from tests.fuzz.scored import METRICS, Scored, check_metrics
from thumbline.pipeline.evaluation.compare import compare, training_logs
from thumbline.pipeline.evaluation.outcome import Choices, write_outcome

_FLAT = "__"
_DRAWS = 100


class Compared:
    """Folders of evaluations and files of scored rows."""

    def __init__(self) -> None:
        self._tables = Scored().tables

    def make(self, random: np.random.Generator) -> Case:
        """Two or three of them; what `evaluate` writes beside the rows may be damaged too."""
        kind = pick(random, list(self._tables))
        files = {}
        for name in "abc"[: int(random.integers(2, 4))]:
            frame = self._other(self._tables[kind], random)
            if chance(random, 0.5):
                frame = damaged_frame(frame, random)
            data = parquet_of(frame)
            files[f"{name}{_FLAT}scored_{kind}.parquet"] = wounded(data, random) if chance(random, 0.05) else data
            if chance(random, 0.3):
                (said,) = damaged_rows([METRICS], random, [METRICS])[:1]
                files[f"{name}{_FLAT}metrics.json"] = json.dumps(said).encode("utf-8", "surrogatepass")
        slices = [pick(random, ["language", "group_id", "model"])] if chance(random, 0.2) else []
        return Case(
            files, {"slices": slices, "alone": chance(random, 0.3), "reward": pick(random, [None, "sum_logps"])}
        )

    @staticmethod
    def _other(frame: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
        """The same rows under a model of another name, in another order, some gone."""
        name = pick(random, ["trained", "other", "org/m[/red]", "", "a\x1b[31m", "k" * 300])
        changed = frame.with_columns(pl.col("model").replace("trained", name))
        if chance(random, 0.3):
            changed = changed.sample(fraction=1.0, shuffle=True, seed=int(random.integers(0, 2**31)))
        return changed.head(changed.height - int(random.integers(0, 3))) if chance(random, 0.2) else changed

    def read(self, case: Case, folder: Path) -> Outcome:
        """Compare and write the page."""
        locations = []
        for name in case.files:
            path = folder.joinpath(*name.split(_FLAT))
            path.parent.mkdir(exist_ok=True)
            (folder / name).rename(path)
            if path.suffix == ".parquet":
                locations.append(str(path if case.settings["alone"] else path.parent))
        return "read" if refused(lambda: _compared(case, locations, folder / "page")) is None else "refused"

    def settle(self) -> None:
        """Nothing is left."""


def _compared(case: Case, locations: list[str], output: Path) -> None:
    choices = Choices(reward=case.settings["reward"], draws=_DRAWS)
    done = compare(locations, choices, tuple(case.settings["slices"]))
    check_metrics(done.metrics)
    summary = write_outcome(done, output, "thumbline compare", training_logs=training_logs(locations))
    assert summary.sentence
