"""What runs thumbline elsewhere: the GitHub Action's script, the image's pins and copies, the agents' skill, the script."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.evaluator_rows import scored_pairs

ROOT = Path(__file__).parents[3]
ACTION = yaml.safe_load((ROOT / ".github/actions/gate/action.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / ".github/docker/Dockerfile").read_text(encoding="utf-8")
SKILL = (ROOT / ".github/skills/thumbline/SKILL.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = dict(
    line.split("==") for line in (ROOT / ".ci/constraints.txt").read_text(encoding="utf-8").split() if "==" in line
)


def evaluate_step(folder, **inputs):
    """The action's second step, run by bash as a runner does, with this Python's own command."""
    (tool,) = (step for step in ACTION["runs"]["steps"] if step["name"] == "Evaluate")
    given = {name: entry.get("default", "") for name, entry in ACTION["inputs"].items()} | inputs
    values = {
        variable: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], text)
        for variable, text in tool["env"].items()
    }
    (folder / "bin").mkdir(exist_ok=True)
    command = folder / "bin" / "thumbline"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m thumbline "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    page = folder / "page.md"
    environment = (
        os.environ | values | {"GITHUB_STEP_SUMMARY": str(page), "PATH": f"{command.parent}:{os.environ['PATH']}"}
    )
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", tool["run"]], cwd=folder, env=environment, capture_output=True
    )
    return done.returncode, page.read_text(encoding="utf-8") if page.is_file() else ""


@pytest.fixture
def rows(tmp_path):
    # Three of four pairs are ranked right; the name holds a blank, as folders do.
    scored_pairs([1.0, -0.5, 0.25, 2.0] * 10).write_parquet(tmp_path / "scored rows.parquet")
    return tmp_path


def test_the_action_passes_fails_and_shows_the_numbers(rows):
    code, page = evaluate_step(rows, rows="scored rows.parquet", arguments="--draws\n100\n")
    assert code == 0 and "75.0%" in page and "condition" not in page
    stated = {"fail-under": "accuracy=0.5\naccuracy=0.9\n", "arguments": "--draws\n100"}
    code, page = evaluate_step(rows, rows="scored rows.parquet", **stated)
    assert code == 1
    assert page.count("| yes |") == 1 and page.count("| **no** |") == 1
    assert 'failures="1"' in (rows / "evaluation" / "gate.xml").read_text(encoding="utf-8")


def test_the_action_runs_no_text_of_its_inputs(rows):
    code, _ = evaluate_step(rows, rows="$(touch made); touch made", **{"fail-under": "$(touch made)"})
    assert code == 2 and not (rows / "made").exists()
    assert all("${{" not in step["run"] for step in ACTION["runs"]["steps"])


def test_the_image_takes_the_versions_that_were_tested_together():
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, flags=re.MULTILINE))
    assert arguments["TORCH"] == PINS["torch"]
    assert f"Programming Language :: Python :: {arguments['PYTHON']}" in PROJECT["classifiers"]
    assert arguments["ENGINE"] in PROJECT["optional-dependencies"]
    assert all(
        "-c .ci/constraints.txt" in line or "+cpu" in line for line in re.findall(r".*pip install.*", DOCKERFILE)
    )
    (extras,) = re.findall(r'"\.\[\$\{ENGINE\},([\w,]+)\]"', DOCKERFILE)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_what_the_image_copies_is_there_and_let_through():
    copied = [word for line in re.findall(r"^COPY (.*)$", DOCKERFILE, flags=re.MULTILINE) for word in line.split()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    let_through = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(let_through) == sorted(".github/LICENSE" if name == ".github/LICENSE" else name for name in copied)
    # The package's folders are links to these.
    links = {path.resolve().name for path in (ROOT / ".package" / "thumbline").iterdir() if path.is_symlink()}
    assert {name for name in links if (ROOT / name).is_dir()} <= set(copied)


def test_the_skill_has_what_agents_look_for():
    _, front, body = SKILL.split("---\n", 2)
    described = yaml.safe_load(front)
    assert described["name"] == "thumbline" and 50 < len(described["description"]) < 1024
    assert len(body.splitlines()) < 200
