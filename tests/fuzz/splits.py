"""Logs and settings of splits: no group in two splits, every row in one, the same whatever the order of the log."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.operators import chance, damaged_rows, file_of, pick
from tests.fuzz.refusing import refused
from thumbline.pipeline import line
from thumbline.pipeline.config import RunConfig, build_config
from thumbline.pipeline.storage.tables import read_table

_LONG: Final = " ".join(f"word{number % 97}" for number in range(400))
# Equal, equal but for case and punctuation, nearly equal, empty, and of letters that fold in odd ways.
_PROMPTS: Final = (
    "When do I plant beans?", "when do I plant beans", "WHEN DO I PLANT BEANS!!", "When do I plant peas?", "hi", "Hi!",
    "", " ", "?!", "\u200b", "Straße", "STRASSE", "ﬁne", "fine", "İ", "i̇", "e\u0301", "é", _LONG, _LONG + " more",
    _LONG[:-1], "\U0001f642", "\x00", "a\nb", "a b",
)  # fmt: skip
_ANSWERS: Final = ("In May.", "in may", "In June.", "No.", "", "Never, go away.", _LONG)
_TIMES: Final = (
    None, "2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z", "2026-02-01", "1969-12-31T23:59:59Z", 0, 1767225600,
    "9999-12-31T23:59:59Z", "tomorrow",
)  # fmt: skip
_SETTINGS: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "splits": {
        "validation": (0.0, 0.1, 0.5, 0.999, 1e-12), "test": (0.0, 0.2, 0.5, 0.999, 1e-12),
        "method": ("hash", "time"), "salt": ("", "x", "\x00", "é"), "near_duplicates": (True, False),
        "group_by": ("prompt", "prompt_and_conversation", "prompt_conversation_and_user"),
        "near_similarity": (0.01, 0.5, 0.99),
    },
    "responses": {
        "min_confidence": (0.5, 0.99), "half_life_days": (1e-6, 1.0, 1e12), "min_prompt_chars": (0, 5),
        "reliability": ("none", "one_label", "dawid_skene"), "exposure": ("none", "propensity", "position"),
    },
    "pairs": {
        "group_prompts": ("none", "normalised", "near_duplicate"), "min_margin": (0.0, 1.0),
        "opposite_labels": (False,), "strategy": ("best_worst", "all_above_margin"), "max_similarity": (0.0, 1.0),
        "same_model": (True,),
    },
}  # fmt: skip


class Splits:
    """Small logs in which much belongs together, and settings at the edges of their ranges."""

    def make(self, random: np.random.Generator) -> Case:
        """A log, damaged now and then, and settings."""
        rows = [self._row(random) for _ in range(int(random.integers(1, 30)))]
        if chance(random, 0.3):
            name, data = file_of("log", damaged_rows(rows, random, rows), random)
        else:
            name, data = "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()
        files = {name: data}
        settings: dict[str, Any] = {section: {} for section in _SETTINGS}
        for section, known in _SETTINGS.items():
            for key, values in known.items():
                if chance(random, 0.3):
                    settings[section][key] = pick(random, values)
        if chance(random, 0.2):
            name, files["held.jsonl"] = file_of("held", damaged_rows(rows[:3], random, rows), random)
        return Case(files, settings)

    @staticmethod
    def _row(random: np.random.Generator) -> dict[str, Any]:
        return {
            "timestamp": pick(random, _TIMES),
            "conversation_id": pick(random, [None, "c1", "c2", "c3", "", "k" * 1000]),
            "user_id": pick(random, [None, "ann", "bob", "", 7]),
            "prompt": pick(random, _PROMPTS),
            "response": pick(random, _ANSWERS),
            "feedback": pick(random, ["thumbs_up", "thumbs_down"]),
        }

    def read(self, case: Case, folder: Path) -> Outcome:
        """Run the line as far as the splits, on the log and on the same log the other way round."""
        (log,) = [name for name in case.files if name.startswith("log")]
        held = {"evaluation_sets": {"held": str(folder / "held.jsonl")}} if "held.jsonl" in case.files else {}
        document = {**case.settings, "splits": {**case.settings["splits"], **held}}
        tables: list[dict[str, pl.DataFrame]] = []
        if refused(lambda: tables.append(_tables(document, folder / log, folder / "one"))) is not None:
            return "refused"
        _check(tables[0])
        if log == "log.jsonl":
            (folder / "back").mkdir()
            lines = (folder / log).read_bytes().splitlines(keepends=True)
            (folder / "back" / log).write_bytes(b"".join(line.rstrip(b"\r\n") + b"\n" for line in reversed(lines)))
            again = _tables(document, folder / "back" / log, folder / "two")
            assert again["splits"].equals(tables[0]["splits"]), "another order of the log gives other splits"
        return "read"

    def settle(self) -> None:
        """Nothing is left."""


def _tables(document: dict[str, Any], log: Path, runs: Path) -> dict[str, pl.DataFrame]:
    base = {"name": "run", "runs": str(runs), "model": "demo", "events": {"inputs": [str(log)], "most_rejected": 1.0}}
    config: RunConfig = build_config({**base, **document}, origin="fuzz")
    for _ in line.run(config, line.select(None, "splits")):
        pass
    return {
        name: read_table(config.run_dir / stage / f"{name}.parquet", name)
        for stage, name in (
            ("splits", "splits"),
            ("pairs", "pairs"),
            ("unpaired", "unpaired"),
            ("responses", "responses"),
        )
    }


def _check(tables: dict[str, pl.DataFrame]) -> None:
    splits = tables["splits"]
    assert splits["prompt_id"].is_unique().all(), "a prompt has two splits"
    across = splits.group_by("group_id").agg(pl.col("split").n_unique())
    assert (across["split"] == 1).all(), "a group is in two splits"
    placed = dict(splits.select("prompt_id", "group_id").iter_rows())
    for name in ("pairs", "unpaired"):
        lost = set(tables[name]["prompt_id"]) - set(placed)
        assert not lost, f"{name}: prompts without a split: {lost}"
    prompts = dict(tables["responses"].select("response_id", "prompt_id").iter_rows())
    for row in tables["pairs"].iter_rows(named=True):
        other = prompts[row["rejected_response_id"]]
        assert placed.get(other, placed[row["prompt_id"]]) == placed[row["prompt_id"]], f"a pair in two groups: {row}"
