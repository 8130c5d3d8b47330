"""What a plain install takes, and that it does its work: an environment of its own, made of a wheel of this checkout.

    python -m tests.benchmarks.fresh_install

Installs with the versions of `.ci/constraints.txt`, prepares the sample log, evaluates scored rows with a report, and
counts packages and MiB (the installer's own left out). Ends with an error where torch came along, or a command fails.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.evaluator_rows import scored_pairs

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = (".package", "pipeline", "losses", "evaluators", ".github")
FILES: Final = ("pyproject.toml", "README.md")
INSTALLERS: Final = ("pip", "setuptools", "pkg_resources", "_distutils_hack")


def copied(folder: Path) -> Path:
    """The checkout's package, where building it leaves nothing behind."""
    source = folder / "source"
    for name in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg*")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, source)
    return source


def installed(folder: Path, extras: str) -> Path:
    """The Python of a new environment that holds thumbline alone."""
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    constraints = ["-c", ROOT / ".ci" / "constraints.txt"]
    subprocess.run([*pip, *constraints, f"{copied(folder)}{extras}"], check=True)
    return python


def packages(python: Path) -> list[str]:
    """Names of what is installed beside thumbline and the installer."""
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = [entry["name"] for entry in json.loads(listed)]
    return [name for name in names if name not in (*INSTALLERS, "thumbline")]


def mebibytes(python: Path) -> float:
    """What the environment's packages take on disk, without the installer's."""
    (site,) = (python.parents[1] / "lib").glob("python*/site-packages")
    ours = [path for path in site.iterdir() if not path.name.startswith(INSTALLERS)]
    files = [file for path in ours for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink()) / 2**20


def work(python: Path, folder: Path) -> list[tuple[str, float]]:
    """Seconds of each command that a plain install is for."""
    scored_pairs([1.0, -0.5, 0.25, 2.0] * 10).write_parquet(folder / "scored.parquet")
    commands = {
        "--help": ["--help"],
        "prepare": ["prepare", str(ROOT / "data" / "sample" / "thumbs.jsonl"), "-o", "prepared"],
        "status": ["status", "prepared"],
        "evaluate": ["evaluate", "scored.parquet", "-o", "evaluation"],
    }
    took = []
    for name, arguments in commands.items():
        start = time.monotonic()
        subprocess.run([python, "-m", "thumbline", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        took.append((name, time.monotonic() - start))
    for made in ("prepared/data_report.html", "prepared/dataset/README.md", "evaluation/report.html"):
        if not (folder / made).is_file():
            raise SystemExit(f"{made} was not made")
    return took


def main() -> None:
    """Install, work, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extras", default="", help="such as [hub]; default: the plain install")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = installed(folder, parser.parse_args().extras)
        names = packages(python)
        if not parser.parse_args().extras and {"torch", "transformers", "datasets"} & set(names):
            raise SystemExit(f"a plain install brought {', '.join(names)}")
        print(f"{len(names)} packages, {mebibytes(python):,.0f} MiB")
        for command, seconds in work(python, folder):
            print(f"{command:10}{seconds:6.1f} s")


if __name__ == "__main__":
    main()
