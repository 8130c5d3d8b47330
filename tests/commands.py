"""The command in a process of its own that has its imports already, for tests that start and kill it many times.

A server imports once what a run imports, and each start is a fork of it: a tenth of a second instead of seconds. What
runs is the command's own entry, in a session of its own, with its own signals and exit code. Tests of how the command
is found, what it imports and what it prints start it as a person does.
"""

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Final

from thumbline.pipeline.line import STAGE_NAMES

_STAGES: Final = [f"thumbline.pipeline.stages.{name}" for name in STAGE_NAMES]
_IMPORTED: Final = ["torch", "transformers", "thumbline.pipeline.cli.main", "thumbline.pipeline.cli.run", *_STAGES]


@cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_IMPORTED, __name__])
    return context


def _command(arguments: Sequence[str], said: str) -> None:
    os.setsid()
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nowhere, 0), (nowhere, 1), (descriptor, 2)):
        os.dup2(source, target)
    sys.argv = ["thumbline", *arguments]
    from thumbline.pipeline.cli.main import main

    main()


class Command:
    """One run of the command, started at once."""

    def __init__(self, *arguments: str | Path) -> None:
        """Start it; `arguments` are those after its name."""
        handle, self._said = tempfile.mkstemp(prefix="thumbline-test-")
        os.close(handle)
        self._process = _server().Process(target=_command, args=([*map(str, arguments)], self._said))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        return self._process.exitcode

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill -9 it and all that it has started, if it runs, and wait for its end."""
        pid = self._process.pid
        if pid is not None and self._process.is_alive():
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                # It has no session of its own yet.
                self._process.kill()
        self._process.join()

    def ended(self, seconds: float) -> tuple[int, str]:
        """Its exit code, and what it wrote to stderr.

        Raises:
            AssertionError: It still runs after so many seconds; it is killed then.
        """
        self._process.join(seconds)
        late = self._process.is_alive()
        if late:
            self.kill()
        said = Path(self._said).read_text(encoding="utf-8", errors="replace")
        assert not late, said
        Path(self._said).unlink()
        return int(self._process.exitcode or 0), said
