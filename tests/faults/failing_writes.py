"""Runs commands many times, each time with another step that fails, and prints what became of each run as JSON.

    python tests/faults/failing_writes.py FOLDER < CAMPAIGNS.json

`write_campaigns.py` says what a campaign is. Each run is a child of this process, which has imported everything. A step
is whatever changes a file below the place where the command works (`failing_writes.c`): opening, writing, syncing,
making, linking, renaming, deleting, by Python, polars, Arrow or torch alike. Its caches and temporary files lie there.
"""

import ctypes
import errno
import hashlib
import importlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

ERRORS: Final = ("ENOSPC", "EIO", "EROFS", "EACCES")
_SOURCE: Final = Path(__file__).with_suffix(".c")
# What holds no results: caches and temporary files, what says who runs the command at this moment, and the page of a
# run that a mistake of its user's ended, put aside by the next.
_ASIDE: Final = re.compile(r"^(?:cache|temporary)/|\.activity\.json$|\.lock$|/data_report\.before\.html$")
_NAMES_A_FILE: Final = re.compile(r"error: (?:\w+: )?[^\s:]+: \w")


class Ended(NamedTuple):
    """How one run ended: its exit code, what it printed, and how many steps it took."""

    code: int
    said: str
    steps: int


def compiled(folder: Path) -> Path:
    """The library that fails steps, made anew."""
    library = folder / "failing.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE)], check=True)
    return library


class Bench:
    """A folder with a `place` in which commands run, again and again, from the same start."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / "place"

    def reset(self, start: str | None) -> None:
        """Empty the place, or fill it with what the campaign of that name left."""
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        if start is not None:
            shutil.copytree(self.folder / "starts" / start, self.place, symlinks=True, dirs_exist_ok=True)

    def run(self, command: list[str], step: int = 0, error: str = "EIO", most_bytes: int | None = None) -> Ended:
        """The command in a child; the step of that number fails, 0: none."""
        log, facts = self.folder / "log", self.folder / "facts"
        child = os.fork()
        if not child:
            self._in_child(command, step, error, most_bytes)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        steps = int(facts.read_text()) if facts.exists() else 0
        return Ended(code, log.read_text(encoding="utf-8", errors="replace"), steps)

    def _in_child(self, command: list[str], step: int, error: str, most_bytes: int | None) -> None:
        descriptor = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ |= {"XDG_CACHE_HOME": str(self.place / "cache"), "TMPDIR": str(self.place / "temporary")}
        (self.place / "temporary").mkdir(exist_ok=True)
        os.chdir(self.place)
        sys.argv = ["thumbline", *command]
        from thumbline.pipeline.cli.launch import main

        library = ctypes.CDLL(None)
        library.fail_below(str(self.place).encode(), ctypes.c_long(step), getattr(errno, error))
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        code = 70
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        finally:
            with suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            if not step and most_bytes is None:
                (self.folder / "facts").write_text(str(library.seen()))
                (self.folder / "modules").write_text("\n".join(sys.modules))
            os._exit(code)

    def digests(self) -> dict[str, str]:
        """Digests of all files of the place but those aside, by path."""
        files = [path for path in self.place.rglob("*") if path.is_file()]
        named = {str(path.relative_to(self.place)): path for path in files}
        return {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in sorted(named.items())
            if not _ASIDE.search(name)
        }


def import_all(names: str) -> None:
    """What a child has imported is imported here, once for all that follow; none of it starts a thread."""
    for name in names.splitlines():
        if name.partition(".")[0] in (
            "thumbline",
            "polars",
            "pandera",
            "torch",
            "transformers",
            "pyarrow",
            "matplotlib",
        ):
            with suppress(Exception):
                importlib.import_module(name)


class Undisturbed(NamedTuple):
    """What a run that nothing fails leaves: steps, names of all files, digests of those that are the same each time."""

    steps: int
    names: set[str]
    stable: dict[str, str]


def undisturbed(bench: Bench, campaign: dict[str, Any]) -> Undisturbed:
    """What the command leaves when nothing fails; the place is kept for campaigns that start from it."""
    found, steps = [], 0
    for _ in range(2):
        bench.reset(campaign["start"])
        ended = bench.run(campaign["command"])
        assert ended.code == campaign["code"], ended.said
        import_all((bench.folder / "modules").read_text())
        found.append(bench.digests())
        steps = ended.steps
    shutil.copytree(bench.place, bench.folder / "starts" / campaign["name"], symlinks=True)
    first, second = found
    assert first.keys() == second.keys(), first.keys() ^ second.keys()
    return Undisturbed(steps, set(first), {name: one for name, one in first.items() if one == second[name]})


def faults_of(ended: Ended, place: Path) -> Iterator[str]:
    """What is wrong with how a run ended whose step failed."""
    if ended.code == 0:
        return
    if ended.code not in (1, 2):
        yield f"ended with {ended.code}"
    if "Traceback" in ended.said or "a fault of thumbline" in ended.said:
        yield "a traceback"
    messages = [row for row in ended.said.splitlines() if row.startswith("error: ")]
    if len(messages) != 1:
        yield f"{len(messages)} messages"
    elif str(place) not in messages[0] and not _NAMES_A_FILE.match(messages[0]):
        yield "no file is named"


def lost(bench: Bench, whole: Undisturbed) -> Iterator[str]:
    """How what lies in the place differs from what an undisturbed run leaves."""
    now = bench.digests()
    for name in sorted(whole.names ^ now.keys()):
        yield f"{name} is {'there' if name in now else 'missing'}"
    yield from (f"{name} differs" for name, digest in whole.stable.items() if now.get(name, digest) != digest)


def tried(bench: Bench, campaign: dict[str, Any], whole: Undisturbed, **failing: Any) -> dict[str, Any]:
    """One run with something that fails, and where it ended with an error another without."""
    bench.reset(campaign["start"])
    ended = bench.run(campaign["command"], **failing)
    wrong = list(faults_of(ended, bench.place)) if campaign["code"] == 0 or ended.code != campaign["code"] else []
    if ended.code != campaign["code"]:
        again = bench.run(campaign["command"])
        if again.code != campaign["code"]:
            wrong.append(f"the next run ended with {again.code}: {again.said[-800:]}")
    wrong += lost(bench, whole)
    return {**failing, "code": ended.code, "wrong": wrong, "said": ended.said[-3000:] if wrong else ""}


def wanted(campaign: dict[str, Any], steps: int) -> Iterator[dict[str, Any]]:
    """What is to fail: each step, with one error or with all; in an order in which any number of them is a sample."""
    errors = campaign["errors"]
    every = list(range(campaign["first"], steps + 1, campaign["every"]))
    random.Random(0).shuffle(every)
    for index, step in enumerate(every if campaign["steps"] is None else campaign["steps"]):
        chosen = errors if campaign["all_errors"] else [errors[index % len(errors)]]
        yield from ({"step": step, "error": error} for error in chosen)
    yield from ({"most_bytes": most} for most in campaign["most_bytes"])


DEFAULTS: Final[dict[str, Any]] = {
    "start": None,
    "code": 0,
    "errors": ERRORS,
    "steps": None,
    "first": 1,
    "every": 1,
    "all_errors": False,
    "most_bytes": [],
    "seconds": None,
}


def done(bench: Bench, given: dict[str, Any]) -> dict[str, Any]:
    """One campaign; it ends early where its seconds are over."""
    campaign = DEFAULTS | given
    began, used = time.monotonic(), sum(os.times()[:4])
    whole = undisturbed(bench, campaign)
    results = []
    for failing in wanted(campaign, whole.steps):
        if campaign["seconds"] is not None and time.monotonic() - began > campaign["seconds"]:
            break
        results.append(tried(bench, campaign, whole, **failing))
    return {
        "name": campaign["name"],
        "steps": whole.steps,
        "tried": len(results),
        "last": results[-1] if results else None,
        "ended_well": sum(one["code"] == campaign["code"] for one in results),
        "unstable": sorted(whole.names - whole.stable.keys()),
        "faults": [one for one in results if one["wrong"]],
        "cpu_seconds": sum(os.times()[:4]) - used,
    }


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    if "failing.so" not in os.environ.get("LD_PRELOAD", ""):
        os.environ |= {"LD_PRELOAD": str(compiled(folder)), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        os.execv(sys.executable, [sys.executable, *sys.argv])
    import thumbline.pipeline.cli.main
    import thumbline.pipeline.line  # noqa: F401

    bench = Bench(folder)
    shutil.rmtree(folder / "starts", ignore_errors=True)
    for campaign in json.load(sys.stdin):
        sys.stdout.write(json.dumps(done(bench, campaign)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
