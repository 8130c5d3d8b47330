"""Renews the golden files: `python -m tests.golden`. Refuses where something changed without a raised version."""

import sys
import tempfile
from pathlib import Path

from tests.golden import files
from tests.golden.comparison import problems, renewed
from tests.golden.groups import GROUPS


def main() -> int:
    """Make everything, then write all files or none; returns the exit status."""
    made = {}
    with tempfile.TemporaryDirectory(prefix="thumbline-golden-") as place:
        for group, make in GROUPS.items():
            folder = Path(place) / group
            folder.mkdir()
            made[group] = make(folder)
    found = [problem for group, entries in made.items() for problem in problems(files.read(group), entries)]
    refused = [problem for problem in found if problem.refused]
    for problem in refused or found:
        sys.stdout.write(problem.message + "\n")
    if refused:
        sys.stdout.write(f"Refused: nothing is written, since {len(refused)} changed without a raised version.\n")
        return 1
    for group, entries in made.items():
        files.write(group, renewed(files.read(group), entries))
    sys.stdout.write(f"Renewed: {len(found)} of {sum(map(len, made.values()))} entries.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
