"""Scored rows, pairs and judged pairs, damaged: numbers that can be, whatever the order of columns, or one message."""

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from tests.evaluator_rows import clustered_margins, scored_pairs, scored_unpaired
from tests.fuzz.cases import Case, Outcome
from tests.fuzz.frames import damaged_frame, parquet_of
from tests.fuzz.logs import examples
from tests.fuzz.operators import chance, damaged_rows, file_of, pick, wounded
from tests.unit.evaluation.test_judged import CASES
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.evaluation.judged import evaluate_pairs, facts_of
from thumbline.pipeline.evaluation.judged_rows import is_judged, read_judged
from thumbline.pipeline.evaluation.outcome import Choices, evaluate_subject, report_inputs
from thumbline.pipeline.evaluation.rows import ReadOptions, read_pairs
from thumbline.pipeline.evaluation.stored import read_subject
from thumbline.pipeline.report import summary

_DRAWS: Final = 100
METRICS: Final = {"baseline": "untrained", "reward": {"kind": "implicit", "beta": 0.1}, "metrics": []}


def check_metrics(metrics: pl.DataFrame) -> None:
    """Every number is one, or there is a reason why there is none; intervals hold it."""
    for row in metrics.iter_rows(named=True):
        assert row["value"] is None or math.isfinite(row["value"]), f"no number: {row}"
        assert row["value"] is not None or row["reason"], f"no value and no reason: {row}"
        for end in ("ci_low", "ci_high"):
            assert row[end] is None or math.isfinite(row[end]), f"no interval: {row}"


class Scored:
    """Parquet files of scored pairs or unpaired rows, alone or in the folder of an evaluation."""

    def __init__(self) -> None:
        margins, groups = clustered_margins(np.random.default_rng(1), 6, rows=(1, 3), shared=0.3)
        names = [f"g{group}" for group in groups]
        pairs = [
            scored_pairs(list(margins + more), names, model=model)
            for model, more in (("trained", 0), ("untrained", -0.4))
        ]
        language = pl.Series("language", ["de", "en", None] * (2 * len(margins)))
        self._pairs = pl.concat(pairs).with_columns(language.head(2 * len(margins)))
        self._unpaired = scored_unpaired([0.5, 0.1, 0.9], [-0.5, 0.2, -0.1], list("aabbcd"))
        self.tables = {"pairs": self._pairs, "unpaired": self._unpaired}

    def make(self, random: np.random.Generator) -> Case:
        """A table of other columns or values, or other bytes; a slice and a reward that it may not have."""
        kind = pick(random, ["pairs", "pairs", "unpaired"])
        data = parquet_of(damaged_frame(self.tables[kind], random))
        if chance(random, 0.1):
            data = wounded(data, random)
        files = {f"scored_{kind}.parquet": data}
        if chance(random, 0.3):
            (metrics,) = damaged_rows([METRICS], random, [METRICS])[:1]
            text = json.dumps(metrics).encode("utf-8", "surrogatepass")
            files["metrics.json"] = wounded(text, random) if chance(random, 0.3) else text
        slices = [pick(random, ["language", "group_id", "model", "none"])] if chance(random, 0.3) else []
        reward = pick(random, [None, None, "implicit", "mean_implicit", "sum_logps", "mean_logps"])
        return Case(files, {"slices": slices, "reward": reward})

    def read(self, case: Case, folder: Path) -> Outcome:
        """Evaluate as the command does."""
        alone = folder / next(iter(case.files))
        place = folder if "metrics.json" in case.files else alone
        try:
            subject = read_subject(str(place), case.settings["slices"])
            outcome = evaluate_subject(subject, Choices(reward=case.settings["reward"], draws=_DRAWS))
            check_metrics(outcome.metrics)
            assert summary(report_inputs(outcome, "thumbline evaluate")).sentence
        except PipelineError as error:
            assert str(error).strip(), "an error without a word"
            return "refused"
        return "read"

    def settle(self) -> None:
        """Nothing is left."""


class Pairs:
    """Files of preferences that are not scored yet."""

    def __init__(self) -> None:
        self._logs: list[tuple[str, Any]] = [
            (name, rows) for files in examples().values() for name, rows in files.items()
        ]
        ultra = {"prompt": "p", "chosen": ["a", "b"], "rejected": ["c"], "subset": "s", "id": 1}
        helped = {"prompt": "p\n<extra_id_1>Assistant\nx\n<extra_id_1>User\ny", "response": "r", "helpfulness": 3}
        self._logs += [("bench", [ultra]), ("rated", [helped, helped | {"response": "s", "helpfulness": 1}])] * 6

    def make(self, random: np.random.Generator) -> Case:
        """A damaged file of any kind."""
        name, rows = pick(random, self._logs)
        others = [row for _, found in self._logs for row in found]
        stem, data = file_of(name, damaged_rows(rows, random, others), random)
        slices = [pick(random, list(others[0]))] if chance(random, 0.1) else []
        return Case({stem: data}, {"slices": slices})

    def read(self, case: Case, folder: Path) -> Outcome:
        """Read as `thumbline evaluate --model` does before it loads a model."""
        (name,) = case.files
        try:
            pairs = read_pairs(str(folder / name), ReadOptions(slices=tuple(case.settings["slices"])))
        except PipelineError as error:
            assert str(error).strip(), "an error without a word"
            return "refused"
        assert pairs.told() and pairs.frame["pair_id"].is_unique().all()
        return "rejected" if pairs.rejected else "read"

    def settle(self) -> None:
        """Nothing is left."""


class Judged:
    """Files of judged pairs."""

    def make(self, random: np.random.Generator) -> Case:
        """A damaged file of any kind, of one layout."""
        rows = [dict(row) for row in CASES[pick(random, list(CASES))][0]]
        others = [dict(row) for records, _ in CASES.values() for row in records]
        name, data = file_of("judged", damaged_rows(rows, random, others), random)
        return Case({name: data})

    def read(self, case: Case, folder: Path) -> Outcome:
        """Rate as the command does."""
        (name,) = case.files
        location = str(folder / name)
        try:
            if not is_judged(location):
                return "refused"
            pairs = read_judged(location)
            outcome = evaluate_pairs(pairs, Choices(draws=_DRAWS))
            check_metrics(outcome.metrics)
            assert facts_of(outcome, "thumbline evaluate")
        except PipelineError as error:
            assert str(error).strip(), "an error without a word"
            return "refused"
        return "rejected" if "not read: none" not in pairs.notes[0] else "read"

    def settle(self) -> None:
        """Nothing is left."""
