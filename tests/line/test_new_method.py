"""A new method is one file and one line: SimPO under another name passes what every method must, and trains."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.line.conftest import write_config

ROOT = Path(__file__).parents[2]
NAME = "copied_simpo"
SPEC = f'LossSpec("SimPO again", {NAME}.simpo, {NAME}.SimPOConfig, True, False, "A copy.", per_token=True)'
LINE = f'    "{NAME}": {SPEC},\n'
# Where tests take their methods from the registry.
SUITES = ["tests/unit/losses", "tests/property/losses", "tests/unit/training", "tests/unit/stages/test_metrics.py"]
# Both are one run: what comes before training is made once.
TRAIN = """
import shutil, sys
from pathlib import Path
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config

for method in sys.argv[2:]:
    config = load_config(Path(sys.argv[1]), (f"train.method={method}",))
    for _ in line.run(config, line.select(None, "metrics")):
        pass
    shutil.copy(config.run_dir / "metrics" / "metrics.parquet", f"{method}.parquet")
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The code with one file of losses under another name, and its line in the registry, with the import of it."""
    folder = tmp_path_factory.mktemp("copy")
    for name in (".package", "pipeline", "evaluators", "losses", "tests"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    losses = folder / "losses"
    shutil.copy(losses / "simpo.py", losses / f"{NAME}.py")
    registry = (losses / "registry.py").read_text()
    opening = "LOSSES: Final[dict[str, LossSpec]] = {\n"
    assert registry.count(opening) == 1
    (losses / "registry.py").write_text(registry.replace(opening, f"from . import {NAME}\n\n{opening}{LINE}"))
    return folder


def python(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": f"{folder / '.package'}{os.pathsep}{folder}"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.slow
def test_a_copied_method_passes_what_every_method_must(copy):
    told = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITES, "-k", NAME)
    passed = int(told.rpartition(" passed")[0].split()[-1])
    # As many cases as SimPO has where cases come from the registry.
    assert passed >= 50
    assert "failed" not in told


@pytest.mark.slow
def test_a_copied_method_trains_and_is_measured_as_the_method_itself(copy, tmp_path, small_log, tiny_model):
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    config = write_config(tmp_path, small_log, tiny_model, train={"epochs": 1})
    python(copy, script, config, NAME, "simpo")
    ours, theirs = (pl.read_parquet(copy / f"{method}.parquet") for method in (NAME, "simpo"))
    assert ours.equals(theirs)
    losses = ours.filter(
        (pl.col("evaluator") == "pair_loss") & (pl.col("metric") == "loss") & pl.col("slice").is_null()
    )
    assert losses["value"].n_unique() == 2
