"""A new log format is one file of ten lines and one line in the registry: it is detected, read and listed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from thumbline.pipeline.storage.manifests import read_manifest

ROOT = Path(__file__).parents[2]
NAME = "stars_log"
FILE = '''"""A shop's assistant: questions and answers, rated with one to five stars; three are rejected."""

from typing import Final

from .base import Events, RawEvent, Row, has_columns
from .shared.labels import Labels, labelled_importer
from .shared.messages import answer, messages
from .shared.votes import known_label


def _events(row: Row, labels: Labels) -> Events:
    prompt, (completion, extra) = messages(row["q"], "q", empty="empty_prompt"), answer(row["a"], "a")
    yield RawEvent(prompt, completion, known_label(row["stars"], labels, "stars"), completion_extra=extra)


SPEC: Final = labelled_importer(
    "stars_log",
    "A shop's assistant: q, a and stars.",
    detect=has_columns({"q", "a", "stars"}),
    parse=_events,
    known={1: "down", 2: "down", 4: "up", 5: "up"},
)
'''
ROWS = [{"q": f"q{number}", "a": f"a{number}", "stars": number} for number in range(1, 6)]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The code with the file, its line in the registry, and the import of it."""
    folder = tmp_path_factory.mktemp("copy")
    for name in (".package", "pipeline", "evaluators", "losses"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    importers = folder / "pipeline" / "importers"
    (importers / f"{NAME}.py").write_text(FILE)
    registry = (importers / "registry.py").read_text()
    opening = "_IN_ORDER: Final = (\n"
    assert registry.count(opening) == 1
    (importers / "registry.py").write_text(
        registry.replace(opening, f"from . import {NAME}\n\n{opening}    {NAME}.SPEC,\n")
    )
    return folder


def thumbline(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(folder / ".package"), "COLUMNS": "250"}
    command = [sys.executable, "-m", "thumbline", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_file_is_ten_lines_of_code():
    code = [line for line in FILE.splitlines()[1:] if line and not line.startswith(("from", "import"))]
    assert len(code) == 10


def test_it_is_listed(copy):
    (line,) = [line for line in thumbline(copy, "formats").splitlines() if line.strip().startswith(NAME)]
    assert "A shop's assistant: q, a and stars." in line


def test_it_is_detected_and_read(copy):
    (copy / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    thumbline(copy, "prepare", "log.jsonl", "-o", "out")
    (events,) = copy.glob("out/**/events/events.parquet")
    texts = pl.read_parquet(events.with_name("texts.parquet"))
    rows = pl.read_parquet(events).join(texts, on="response_id").sort("source_line")
    assert rows["vote"].to_list() == ["down", "down", "up", "up"]
    assert rows["completion"].to_list() == ["a1", "a2", "a4", "a5"]
    notes = read_manifest(events.parent).notes
    assert (notes["formats"], notes["reject_reasons"]) == ({NAME: 4}, {"unknown_label": 1})
