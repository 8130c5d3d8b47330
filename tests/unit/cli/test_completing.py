"""What a shell offers after the tab key is what there is, and nothing heavy is imported for it."""

import os
import subprocess
import sys

import pytest

from thumbline.losses import LOSSES
from thumbline.losses.registry import method_names
from thumbline.pipeline.cli import completing
from thumbline.pipeline.importers.registry import IMPORTERS
from thumbline.pipeline.judges.registry import JUDGES
from thumbline.pipeline.line import STAGE_NAMES
from thumbline.pipeline.tables import TABLES


def test_the_names_read_from_sources_are_those_of_the_registries():
    assert completing.methods("") == method_names() and set(LOSSES) <= set(completing.methods(""))
    assert completing.stages("") == list(STAGE_NAMES)
    assert completing.tables("") == list(TABLES)
    assert completing.formats("")[: len(IMPORTERS) + 1] == ["auto", *IMPORTERS]
    assert completing.judges("")[: len(JUDGES)] == list(JUDGES)
    assert completing.names_in("losses/registry.py", "NOTHING") == []


def test_names_that_begin_as_typed():
    assert completing.methods("sp") == ["sppo"]
    assert completing.settings("tr") == ["train"]
    assert "train.lora.rank" in completing.settings("train.lo") and "train.epochs" not in completing.settings(
        "train.lo"
    )
    assert completing.assignments("splits.te") == ["splits.test="]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["run", "x.yaml", "--until", "ev"], "events"),
        (["tables", "generation_"], "generation_prompts"),
        (["train", "x", "--method", "simp"], "simpo"),
        (["stat"], "status"),
    ],
)
def test_a_shell_is_offered_them_without_torch(typed, offered):
    script = (
        "import atexit, sys; sys.argv = ['thumbline']; from thumbline.pipeline.cli.launch import main;"
        "atexit.register(lambda: print('torch' in sys.modules)); main()"
    )
    asked = {
        "_THUMBLINE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["thumbline", *typed]),
        "COMP_CWORD": str(len(typed)),
    }
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | asked)
    assert done.stdout.split() == [offered, "False"], done.stderr
