"""The lock of the tested install: each package that `make install` brings without a GPU, with the SHA-256 of its file.

    python -m tests.locking

writes `.ci/requirements.lock` anew from what is installed here and the versions of `.ci/constraints.txt`. pip chooses
the files and reads them whole for their digests; it installs nothing. For Linux on x86-64 and the Python that runs it.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from tests.supply import CONSTRAINTS, ROOT, brought, pins

LOCK: Final = ROOT / ".ci" / "requirements.lock"
_HEAD: Final = """\
# The files that were tested: Linux on x86-64, Python 3.11, no GPU. Made by: python -m tests.locking
# Installed by: make locked
"""


def lines(report: Mapping[str, Any]) -> list[str]:
    """A line a package of pip's installation report, in the order of their names."""
    found = {
        canonicalize_name(item["metadata"]["name"]): (
            item["metadata"]["version"],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in report["install"]
    }
    return [f"{name}=={version} --hash=sha256:{digest}" for name, (version, digest) in sorted(found.items())]


def _report(requirements: Sequence[str], index: Sequence[str] = ()) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        asked, report = Path(folder) / "asked.txt", Path(folder) / "report.json"
        asked.write_text("\n".join(requirements))
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--dry-run", "--ignore-installed"]
        subprocess.run([*pip, "--quiet", "--no-deps", "--report", report, *index, "-r", asked], check=True)
        return dict(json.loads(report.read_text()))


def main() -> None:
    """Write the lock; arguments go to pip, such as --extra-index-url for the CPU builds of torch."""
    pinned = pins(CONSTRAINTS.read_text())
    asked = [f"{name}=={pinned[name]}{'+cpu' if name == 'torch' else ''}" for name in sorted(brought())]
    made = lines(_report(asked, sys.argv[1:]))
    LOCK.write_text(_HEAD + "\n".join(made) + "\n")
    sys.stdout.write(f"{LOCK.relative_to(ROOT)}: {len(made)} files\n")


if __name__ == "__main__":
    main()
