"""How an error ends a command: one message, whoever raised it, and no traceback on the terminal."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

from ..errors import MISUSE, PipelineError
from ..hiding import as_told
from ..troubles import explained
from .ending import stop_behind, tell_stopped
from .terminal import err


@contextmanager
def errors_told() -> Iterator[None]:
    """An error prints one message; a user's mistake exits with 2, others with 1."""
    try:
        yield
    except (SystemExit, GeneratorExit):
        raise
    # Panics of polars are no `Exception`.
    except BaseException as error:  # noqa: BLE001  all are told
        stopped = stop_behind(error)
        sys.exit(tell_error(error) if stopped is None else tell_stopped(stopped))


def tell_error(error: BaseException, who: str = "") -> int:
    """Print what went wrong; gives the exit code.

    Args:
        error: Whatever ended the work.
        who: The process that speaks, where it is one of several.
    """
    told = error if isinstance(error, PipelineError) else explained(error)
    message = _fault(error) if told is None else str(told)
    err.print(as_told(f"error: {who}{message}"), style="red", soft_wrap=True)
    return 2 if isinstance(told, MISUSE) else 1


def _fault(error: BaseException) -> str:
    """A fault of the program in a line; its traceback lies in a file, for who mends it."""
    lines = str(error).strip().splitlines() or ["no message"]
    message = f"a fault of thumbline, not of yours ({type(error).__name__}: {lines[0]})."
    try:
        with NamedTemporaryFile(
            "w", prefix="thumbline-fault-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(as_told("".join(traceback.format_exception(error))))
    except OSError:
        return message
    return f"{message} Please report it with {file.name}, which says where it happened."
