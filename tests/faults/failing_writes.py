"""Runs a command many times, each time with another write that fails, and prints how each run ended as JSON.

    python tests/faults/failing_writes.py FOLDER COUNTS COMMAND...

Each run is a child of this process, which has imported everything; `{out}` in the command is its own folder in FOLDER.
COUNTS are numbers with commas between: `7` fails the seventh opening, making, syncing, renaming or deleting below the
run's folder, `s4096` lets no file grow beyond 4,096 bytes, whoever writes it, and `0` fails nothing.
"""

import errno
import io
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES)


class Failing:
    """Counts what is done below a folder, and fails once."""

    def __init__(self, root: Path, at: int) -> None:
        self.root, self.at, self.seen = str(root), at, 0

    def step(self, path: Any) -> None:
        try:
            place = str(Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else Path(path).absolute())
        except (OSError, TypeError):
            return
        if not place.startswith(self.root):
            return
        self.seen += 1
        if self.seen == self.at:
            number = ERRORS[self.at % len(ERRORS)]
            raise OSError(number, os.strerror(number), None if isinstance(path, int) else place)

    def install(self) -> None:
        for name in ("fsync", "mkdir", "unlink", "replace", "rename", "link"):
            setattr(os, name, self.failing(getattr(os, name), -1 if name in ("replace", "rename", "link") else 0))
        opened, opener = io.open, os.open

        def reopened(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if set(mode) & set("wax+"):
                self.step(file)
            return opened(file, mode, *rest, **named)

        def opened_low(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR):
                self.step(path)
            return opener(path, flags, *rest, **named)

        io.open = __builtins__.open = reopened  # type: ignore[attr-defined, assignment]
        os.open = opened_low

    def failing(self, real: Callable[..., Any], target: int) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            self.step(arguments[:2][target])
            return real(*arguments, **named)

        return run


def attempt(folder: Path, count: str, command: list[str], log: Path) -> int:
    """Run the command in a child; its exit code. What it printed is in `log`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from thumbline.pipeline.cli.launch import main

    sys.argv = ["thumbline", *(word.replace("{out}", str(folder)) for word in command)]
    failing = Failing(folder, 0 if count.startswith("s") else int(count))
    failing.install()
    if count.startswith("s"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(count[1:]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    code = 70
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if count == "0":
            log.with_suffix(".steps").write_text(str(failing.seen))
        os._exit(code)
    return 0


def digests(folder: Path) -> dict[str, str]:
    """Digests of the tables below a folder, by path; what else is left there by name."""
    import hashlib

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {name: digest if name.endswith(".parquet") else "" for name, digest in found.items()}


def main(folder: Path, counts: list[str], command: list[str]) -> None:
    # Imported once, for all children; none of it starts a thread before it is used.
    import thumbline.pipeline.cli.main
    import thumbline.pipeline.dataset
    import thumbline.pipeline.line  # noqa: F401

    results = []
    log = folder / "log"
    for count in counts:
        place = folder / "out"
        shutil.rmtree(place, ignore_errors=True)
        code = attempt(place, count, command, log)
        said = log.read_text(encoding="utf-8", errors="replace")
        again = attempt(place, "0", command, folder / "again") if code else 0
        results.append({"count": count, "code": code, "said": said, "again": again, "files": digests(place)})
    steps = (folder / "again.steps" if (folder / "again.steps").exists() else folder / "log.steps").read_text()
    sys.stdout.write(json.dumps({"steps": int(steps), "results": results}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:])
