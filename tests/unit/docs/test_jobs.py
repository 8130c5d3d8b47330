"""What runs thumbline elsewhere: the GitHub Action, the image, the agents' skill, a script for uv."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.evaluator_rows import scored_pairs
from tests.supply import pins

ROOT = Path(__file__).parents[3]
ACTION = yaml.safe_load((ROOT / ".github/actions/gate/action.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / ".github/docker/Dockerfile").read_text(encoding="utf-8")
SKILL = (ROOT / ".github/skills/thumbline/SKILL.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = pins((ROOT / ".ci/constraints.txt").read_text(encoding="utf-8"))


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
    runner = {"GITHUB_STEP_SUMMARY": str(page), "PATH": f"{command.parent}:{os.environ['PATH']}"}
    shell = ["bash", "-eo", "pipefail", "-c", tool["run"]]
    done = subprocess.run(shell, cwd=folder, env=os.environ | values | runner, capture_output=True)
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
    assert f"Programming Language :: Python :: {arguments['PYTHON']}" in PROJECT["classifiers"]
    assert arguments["ENGINE"] in PROJECT["optional-dependencies"]
    locked, own = re.findall(r"pip install ((?:.*\\\n)*.*)", DOCKERFILE)
    assert "--no-deps --require-hashes" in locked and '-r ".ci/image-${ENGINE}.lock"' in locked
    assert "--no-deps ." in own
    lock = pins((ROOT / f".ci/image-{arguments['ENGINE']}.lock").read_text(encoding="utf-8"))
    assert {name: version.removesuffix("+cpu") for name, version in lock.items()} == {name: PINS[name] for name in lock}


def test_what_the_image_copies_is_there_and_let_through():
    copied = [word for line in re.findall(r"^COPY (.*)$", DOCKERFILE, flags=re.MULTILINE) for word in line.split()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    ignored = (ROOT / ".github/docker/Dockerfile.dockerignore").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^!(.*)$", ignored, flags=re.MULTILINE)) == sorted(copied)
    # The package's folders are links to these.
    links = {path.resolve().name for path in (ROOT / ".package" / "thumbline").iterdir() if path.is_symlink()}
    assert {name for name in links if (ROOT / name).is_dir()} <= set(copied)


def test_the_skill_has_what_agents_look_for():
    _, front, body = SKILL.split("---\n", 2)
    described = yaml.safe_load(front)
    assert described["name"] == "thumbline" and 50 < len(described["description"]) < 1024
    assert len(body.splitlines()) < 200


def test_the_script_names_its_package_and_works(tmp_path):
    script = (ROOT / "data/first_look.py").read_text(encoding="utf-8")
    (block,) = re.findall(r"^# /// script\n((?:#.*\n)+?)# ///$", script, flags=re.MULTILINE)
    header = tomllib.loads(re.sub(r"^# ?", "", block, flags=re.MULTILINE))
    assert header["dependencies"] == [PROJECT["name"]] and header["requires-python"] == PROJECT["requires-python"]
    assert (ROOT / "data" / header["tool"]["uv"]["sources"]["thumbline"]["path"] / "pyproject.toml").is_file()
    log = tmp_path / "log.csv"
    log.write_text("question,answer,rating\nWhat?,This.,up\nWhat?,That.,down\nWhat?,Else.,meh\n", encoding="utf-8")
    command = [sys.executable, str(ROOT / "data/first_look.py"), str(log), "--output", str(tmp_path / "out")]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "1 pair\n" in told and "rejected, unknown_label: 1" in told
    assert (tmp_path / "out" / "data_report.html").is_file()
