"""Objects indented over several lines, as API responses and console exporters are saved, each as one line.

An object begins with a line of `{` alone and ends with the next line of `}` alone: inside it every line is indented.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final

from .records import RowError
from .streams import Line

_BEGIN: Final = b"{"
_ENDS: Final = (b"}", b"},")


def indented_objects(lines: Iterator[Line], max_bytes: int) -> Iterator[Line]:
    """The file's objects, each numbered by its first line; what stands between them line by line.

    An object that does not end, or that is too long, costs its first line: reading goes on at its second.
    """
    waiting = deque[Line]()
    while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
        if line.error is not None or line.data.rstrip() != _BEGIN:
            yield line
            continue
        taken, size = [line], len(line.data)
        while (more := waiting.popleft() if waiting else next(lines, None)) is not None:
            taken.append(more)
            size += len(more.data) + 1
            # Another beginning without an indent: the first object never ended.
            ends = more.data.startswith(_BEGIN) or more.data.rstrip() in _ENDS
            if more.error is not None or size > max_bytes or ends:
                break
        if taken[-1].error is None and size <= max_bytes and taken[-1].data.rstrip() in _ENDS and len(taken) > 1:
            yield Line(line.number, b"\n".join(part.data for part in taken).rstrip().removesuffix(b","))
        else:
            reason = "line_too_long" if size > max_bytes else "broken_json"
            yield line._replace(error=RowError(reason, "an object that begins here does not end as one"))
            waiting.extendleft(reversed(taken[1:]))
