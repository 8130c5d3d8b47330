"""The locked packages looked up in the list of known vulnerabilities, by pip-audit.

    python -m tests.auditing PIP_AUDIT

Ends with 1 where a package has one, and names it; with 2 where pip-audit fails. Where the service is not reached, or
does not know a package, it says so: nothing that was not looked up counts as free of them.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.locking import LOCK
from tests.supply import pins

_SHOWN: Final = 3
# What pip-audit says where nobody answers.
_UNREACHED: Final = re.compile(r"ConnectionError|ConnectTimeout|ReadTimeout|Max retries|ServiceError|resolve")


class Verdict(NamedTuple):
    """What is said, and the exit status."""

    words: str
    status: int


def _lines(found: Mapping[str, Any]) -> list[str]:
    return [
        f"{found['name']} {found['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none yet'}"
        for one in found["vulns"]
    ]


def verdict(audit: Mapping[str, Any]) -> Verdict:
    """Of pip-audit's JSON."""
    looked_up = [one for one in audit["dependencies"] if "skip_reason" not in one]
    skipped = [one["name"] for one in audit["dependencies"] if "skip_reason" in one]
    if not looked_up:
        return Verdict(f"audit: skipped, the service answered for none of {len(skipped)} packages", 0)
    vulnerable = [line for one in looked_up for line in _lines(one)]
    words = [f"audit: {len(looked_up)} packages looked up, {len(vulnerable)} known vulnerabilities", *vulnerable]
    if skipped:
        more = ", ..." if len(skipped) > _SHOWN else ""
        words.append(f"audit: {len(skipped)} were not found and not looked up: {', '.join(skipped[:_SHOWN])}{more}")
    return Verdict("\n".join(words), 1 if vulnerable else 0)


def unanswered(stderr: str) -> Verdict:
    """Of an audit that printed nothing: skipped where the service was not reached, else a failure."""
    last = (stderr.strip().splitlines() or ["it gave no reason"])[-1][:200]
    if _UNREACHED.search(stderr):
        return Verdict(f"audit: skipped, the service was not reached ({last})", 0)
    return Verdict(f"audit: pip-audit failed: {last}", 2)


def audited(pip_audit: str) -> Verdict:
    """Of the lock. The service knows releases, not builds: `+cpu` is left out."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "asked.txt"
        pinned = pins(LOCK.read_text())
        asked.write_text("".join(f"{name}=={version.partition('+')[0]}\n" for name, version in pinned.items()))
        options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
        done = subprocess.run([pip_audit, *options, "-r", asked], capture_output=True, text=True)
    return verdict(json.loads(done.stdout)) if done.stdout.strip() else unanswered(done.stderr)


def main() -> None:
    """Say the verdict, end with its status."""
    words, status = audited(sys.argv[1])
    sys.stdout.write(f"{words}\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
