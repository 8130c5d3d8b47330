"""The wheel takes one name, and works beside a user's own files called losses, evaluators and pipeline."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = (
    "py.typed",
    "losses/py.typed",
    "pipeline/configs/quickstart.yaml",
    "pipeline/report/metrics.schema.json",
    "pipeline/config/run.schema.json",
    "pipeline/report/templates/page.html.j2",
    "pipeline/report/templates/page.css",
    "pipeline/report/templates/page.js",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A wheel of this checkout, unpacked as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in (".package", "pipeline", "losses", "evaluators", ".github"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg*")
        )
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(source)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def beside(tmp_path):
    """A user's folder, whose files have the names of ours."""
    for name in ("losses", "pipeline", "evaluators"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('the {name} of the user was imported')\n")
    return tmp_path


def python(site, folder, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(site), "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_takes_one_name(site):
    tops = sorted(path.name for path in site.iterdir())
    assert [name for name in tops if not name.endswith(".dist-info")] == ["thumbline"]
    assert len(tops) == 2


def test_the_wheel_holds_types_templates_schema_and_configs(site):
    missing = [name for name in DATA if not (site / "thumbline" / name).is_file()]
    assert missing == []
    modules = {
        path.relative_to(ROOT) for room in ("pipeline", "losses", "evaluators") for path in ROOT.glob(f"{room}/**/*.py")
    }
    assert [path for path in sorted(modules) if not (site / "thumbline" / path).is_file()] == []


@pytest.mark.slow
def test_the_command_works_beside_a_users_files_of_our_names(site, beside):
    where = python(site, beside, "-c", "import thumbline; print(thumbline.__file__)")
    assert Path(where.strip()).is_relative_to(site)
    assert "dpo" in python(site, beside, "-m", "thumbline", "losses")
    rows = [
        {"prompt": f"Question {number}?", "response": f"Answer {vote}.", "feedback": vote}
        for number in range(4)
        for vote in ("up", "down")
    ]
    (beside / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = python(site, beside, "-m", "thumbline", "prepare", "log.jsonl", "-o", "out")
    assert "data_report.html" in told and (beside / "out" / "data_report.html").is_file()
    code = "import thumbline; print(len(thumbline.prepare('log.jsonl').pairs))"
    assert python(site, beside, "-c", code).strip() == "4"
