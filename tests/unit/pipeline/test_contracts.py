"""Each import contract fails on a planted violation."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLANTED = {
    "Imports go down the line only": ("pipeline/storage/parquet.py", "import thumbline.pipeline.cli.main"),
    "Stages never import each other": ("pipeline/stages/pairs.py", "import thumbline.pipeline.stages.splits"),
    "losses and evaluators know nothing of the pipeline": ("evaluators/types.py", "import thumbline.pipeline.errors"),
    "losses imports torch alone": ("losses/types.py", "import numpy"),
    "evaluators, reading and importers never import torch": ("pipeline/importers/base.py", "import torch"),
    "vllm is imported only below pipeline.engines.vllm": ("pipeline/engines/hf.py", "import vllm"),
    "ray is imported only below pipeline.scale, where a setting asks for it": ("pipeline/workers.py", "import ray"),
}


def lint(folder: Path) -> str:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder / ".package")}
    )
    return done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path):
    for name in (".package", "pipeline", "evaluators", "losses"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_code_as_it_is_keeps_every_contract(copy):
    assert f"{len(PLANTED)} kept, 0 broken" in lint(copy)


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_import_breaks_its_contract(copy, contract):
    file, statement = PLANTED[contract]
    path = copy / file
    text = path.read_text()
    path.write_text(text + f"\n{statement}  # planted\n")
    assert f"{contract} BROKEN" in lint(copy)
