"""What a plain install lacks is told with the line that installs it."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from thumbline.extras import EXTRAS, install_line, missing_words
from thumbline.pipeline.errors import MissingDependencyError
from thumbline.pipeline.libraries import check_libraries, libraries_told, library

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# The distributions that bring a library of another name.
DISTRIBUTIONS = {
    "huggingface_hub": "huggingface-hub",
    "detect_secrets": "detect-secrets",
    "stdnum": "python-stdnum",
    "mlflow": "mlflow-skinny",
}
# Runs a command where those libraries cannot be imported, as if they were not installed.
WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Without)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {absent!r} else real(name, package)
sys.argv = ["thumbline", *{arguments!r}]
from thumbline.pipeline.cli.launch import main
main()
"""
ABSENT = ("torch", "transformers", "safetensors", "datasets", "huggingface_hub")


def plainly(*arguments):
    script = WITHOUT.format(absent=ABSENT, arguments=arguments)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("name", EXTRAS)
def test_the_extra_that_is_named_brings_the_library(name):
    needed = [line.split(">")[0].split("=")[0] for line in PROJECT["optional-dependencies"][EXTRAS[name]]]
    assert DISTRIBUTIONS.get(name, name) in needed


def test_a_plain_install_has_none_of_them():
    plain = " ".join(PROJECT["dependencies"])
    assert [name for name in EXTRAS if DISTRIBUTIONS.get(name, name) in plain] == []


def test_no_module_but_the_table_writes_the_line_that_installs():
    written = [
        path.name
        for room in ("pipeline", "losses", "evaluators", ".package/thumbline")
        for path in (ROOT / room).glob("*.py" if room.startswith(".") else "**/*.py")
        if "pip install 'thumbline[" in path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and "pip install 'thumbline[" in str(node.value)
    ]
    assert written == ["extras.py"]


def test_a_library_that_is_there_is_given_and_one_that_is_not_is_told(monkeypatch):
    assert library("json.decoder", "x").JSONDecoder
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingDependencyError, match=r"^x needs wandb, which is not installed. Install with: pip inst"):
        library("wandb", "x")
    with pytest.raises(MissingDependencyError, match="x needs wandb"):
        check_libraries("x", "wandb")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"x needs tensorboard.*thumbline\[tensorboard\]"):
        library("torch.utils.tensorboard", "x", "tensorboard")


def test_another_failed_import_is_raised_as_it_is():
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_module'"), libraries_told("x"):
        import no_such_module  # noqa: F401
    with pytest.raises(ImportError, match="broken"), libraries_told("x"):
        raise ImportError("broken", name="torch")
    with pytest.raises(MissingDependencyError, match="x needs torch"), libraries_told("x"):
        raise ModuleNotFoundError("No module named 'torch.fx'", name="torch.fx")


@pytest.mark.parametrize(
    ("arguments", "asked_by", "absent"),
    [
        (("losses",), "thumbline.losses", "torch"),
        (("plan", "pipeline/configs/quickstart.yaml"), "thumbline plan", "torch"),
        (("prepare", "hub:a/b", "-o", "{tmp}"), "the input hub:a/b", "datasets"),
        (("train", "data/sample/thumbs.jsonl", "-m", "demo", "-o", "{tmp}"), "", "torch"),
    ],
)
def test_commands_say_what_they_lack(arguments, asked_by, absent, tmp_path):
    done = plainly(*(part.replace("{tmp}", str(tmp_path / "out")) for part in arguments))
    assert done.returncode == 2
    assert missing_words(absent, asked_by) in done.stderr
    assert install_line(EXTRAS[absent]) in done.stderr and "Traceback" not in done.stderr
