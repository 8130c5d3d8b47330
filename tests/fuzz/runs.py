"""The files of a run, damaged: manifests, settings and tables are as their stage wrote them, or refused by name."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import polars as pl

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.frames import damaged_frame, parquet_of
from tests.fuzz.operators import chance, damaged_rows, pick, text_of, wounded
from tests.line.conftest import write_log
from thumbline.pipeline import line
from thumbline.pipeline.api.exporting import export
from thumbline.pipeline.api.launching import launch_plan
from thumbline.pipeline.cli.rejects import rejects_command
from thumbline.pipeline.cli.status import status_command
from thumbline.pipeline.config import build_config
from thumbline.pipeline.dataset.prepared import write_report
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.evaluation.stored import read_subject
from thumbline.pipeline.report.run_facts import read_manifests
from thumbline.pipeline.storage.digests import digest_json
from thumbline.pipeline.storage.tables import read_table

_FLAT: Final = "__"
_STAGES: Final = ("events", "splits")
_CHECK: Final = "check"


class Runs:
    """A run of the stages that need no model."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._tables: dict[str, pl.DataFrame] = {}
        self._looks: dict[str, Callable[[Path], object]] = {
            "status": _status,
            "manifests": read_manifests,
            "tables": self._check_tables,
            "report": _report,
            "plan": lambda run: line.plan(line.load_saved_config(run)),
            "launch-plan": launch_plan,
            "export": lambda run: export(run, "openai", output=run.parent / "exported"),
            "rejects": _rejects,
            "compare": lambda run: read_subject(str(run)),
        }
        with TemporaryDirectory() as place:
            folder = Path(place)
            log = write_log(folder / "log.jsonl", prompts=6)
            document = {"name": "run", "runs": place, "model": "demo", "events": {"inputs": [str(log)]}}
            config = build_config(document, origin="fuzz")
            for _ in line.run(config, line.select(*_STAGES)):
                pass
            for path in sorted(config.run_dir.rglob("*")):
                if path.is_file():
                    self._files[_FLAT.join(path.relative_to(config.run_dir).parts)] = path.read_bytes()
                if path.suffix == ".parquet":
                    self._tables[path.stem] = pl.read_parquet(path)

    def make(self, random: np.random.Generator) -> Case:
        """One file of other values or other bytes; a manifest perhaps of an older version, which no digest guards."""
        name = pick(random, [name for name in self._files if name.endswith((".json", ".yaml", ".parquet"))])
        data = self._files[name]
        if name.endswith(".parquet"):
            data = parquet_of(damaged_frame(pl.read_parquet(io.BytesIO(data)), random))
        elif name.endswith("manifest.json") and chance(random, 0.7):
            data = self._manifest(json.loads(data), random)
        if data == self._files[name] or chance(random, 0.2):
            data = wounded(data, random)
        return Case(self._files | {name: data}, {"damaged": name, "look": pick(random, list(self._looks))})

    @staticmethod
    def _manifest(document: dict[str, Any], random: np.random.Generator) -> bytes:
        document.pop(_CHECK)
        (damaged,) = damaged_rows([document], random, [document])[:1]
        if isinstance(damaged, dict) and chance(random, 0.5):
            return text_of({_CHECK: digest_json(damaged)} | damaged, random)
        return text_of(damaged, random)

    def read(self, case: Case, folder: Path) -> Outcome:
        """Look at the run with what reads its files."""
        run = folder / "run"
        for name in case.files:
            path = run.joinpath(*name.split(_FLAT))
            path.parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(path)
        try:
            self._looks[case.settings["look"]](run)
        except PipelineError as error:
            assert str(error).strip(), "an error without a word"
            return "refused"
        return "read"

    def _check_tables(self, run: Path) -> None:
        for path in sorted(run.glob("*/*.parquet")):
            found = read_table(path, path.stem)
            manifest = json.loads((path.parent / "manifest.json").read_text(encoding="utf-8"))
            assert _CHECK not in manifest or found.equals(self._tables[path.stem]), f"{path.stem}: rows nobody wrote"

    def settle(self) -> None:
        """Nothing is left."""


def _status(run: Path) -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        status_command(run)


def _rejects(run: Path) -> None:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        rejects_command(run)


def _report(run: Path) -> None:
    write_report(line.load_saved_config(run), "thumbline prepare")
