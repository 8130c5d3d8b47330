"""Damaged inputs for everything that reads files: `python -m tests.fuzz --seconds 300`.

Each input is read as rows and rejects that add up, or refused with one message. Anything else that is raised, and
anything that takes long, is a fault: its input is kept below `--found`, and the exit code is 1.
"""

import argparse
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path

from tests.fuzz.campaign import Campaign, Tally
from tests.fuzz.targets import TARGETS

_HEADINGS = ("inputs", "read", "rejected", "refused", "faults", "a second")


def main() -> int:
    """Print a table of what came of the inputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", help="only targets whose names begin so; may be repeated")
    parser.add_argument("--found", type=Path, default=Path("build/fuzz"), help="where inputs of faults are kept")
    asked = parser.parse_args()
    names = [name for name in TARGETS if name.startswith(tuple(asked.target or [""]))]
    if not names:
        parser.error(f"no such target; known: {', '.join(TARGETS)}")
    # What is refused is counted here, not told.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    total = Tally()
    with tempfile.TemporaryDirectory() as place:
        os.environ["THUMBLINE_CACHE"] = f"{place}/cache"
        campaign = Campaign(TARGETS, Path(place), asked.found, asked.seed)
        print("target".ljust(26), *(heading.rjust(9) for heading in _HEADINGS))
        for name in names:
            tally = campaign.feed(name, asked.seconds / len(names))
            _print(name, tally)
            total.outcomes += tally.outcomes
            total.faults += tally.faults
            total.seconds += tally.seconds
    _print("all", total)
    return int(bool(total.faults))


def _print(name: str, tally: Tally) -> None:
    outcomes = tally.outcomes
    counts = (tally.inputs, outcomes["read"], outcomes["rejected"], outcomes["refused"], tally.faults.total())
    print(name.ljust(26), *(f"{count:9,}" for count in (*counts, round(tally.inputs / max(tally.seconds, 1e-9)))))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
