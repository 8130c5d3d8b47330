"""Whether what was made is what the golden files hold, and whether a change was announced by a raised version.

An entry is one stage, format or command: `version`, its stage's VERSION; `after`, the versions of what it rests on;
and by file name its `tables`, `documents` and `texts`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

Entry = Mapping[str, Any]
Entries = Mapping[str, Entry]

RENEW: Final = "run `python -m tests.golden`"
_KINDS: Final = ("tables", "documents", "texts")
# How far numbers may differ that come from a model's arithmetic: relative, and where they are near zero.
_RELATIVE: Final = 1e-3
_ABSOLUTE: Final = 1e-5
# A number in a sentence has few digits, so that its rounding may differ by one in the last of three.
_RELATIVE_IN_TEXT: Final = 1e-2
_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?(?:e[-+]\d+)?)")
_SHOWN: Final = 3


class Problem(NamedTuple):
    """Why an entry does not stand.

    Attributes:
        message: What to tell, and what to do.
        refused: Whether renewing is refused: a change without a raised version.
    """

    message: str
    refused: bool


def problems(golden: Entries, found: Entries) -> list[Problem]:
    """Why `found` is not what the golden files hold; empty where it is."""
    names = sorted(golden.keys() | found.keys())
    made = [_problem(name, golden.get(name), found.get(name)) for name in names]
    return [problem for problem in made if problem is not None]


def renewed(golden: Entries, found: Entries) -> dict[str, Entry]:
    """`found`, with the golden entry where both say the same, so that no last digit changes for nothing."""
    return {
        name: golden[name] if name in golden and _problem(name, golden[name], entry) is None else entry
        for name, entry in found.items()
    }


def _problem(name: str, golden: Entry | None, found: Entry | None) -> Problem | None:
    if golden is None:
        return Problem(f"{name}: no golden entry; {RENEW}", refused=False)
    if found is None:
        return Problem(f"{name}: the golden entry is of something that is gone; {RENEW}", refused=False)
    version, before = found["version"], golden["version"]
    changed = list(_changed(golden, found))
    if version < before:
        return Problem(f"{name}: VERSION is {version}, below the golden {before}: versions only rise", refused=True)
    if version == before and found["after"] == golden["after"]:
        if not changed:
            return None
        advice = f"raise it, say it in the change log, and {RENEW}"
        return Problem(f"{name}: {_list(changed)} but VERSION is still {version}: {advice}", refused=True)
    raised = f"VERSION is {version}, was {before}" if version != before else _raised(golden["after"], found["after"])
    return Problem(f"{name}: {raised}, {_list(changed) if changed else 'nothing changed'}; {RENEW}", refused=False)


def _raised(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return f"VERSION of {', '.join(names)} differs"


def _list(changes: list[str]) -> str:
    more = f", and {len(changes) - _SHOWN} more changes" if len(changes) > _SHOWN else ""
    return "; ".join(changes[:_SHOWN]) + more


def _changed(golden: Entry, found: Entry) -> Iterator[str]:
    for kind in _KINDS:
        before, now = golden.get(kind, {}), found.get(kind, {})
        for file in sorted(before.keys() | now.keys()):
            if file not in now or file not in before:
                yield f"{file} is {'new' if file in now else 'gone'}"
            elif kind == "documents":
                yield from _document_change(file, before[file], now[file])
            elif not close(before[file], now[file]):
                yield f"{file} changed ({_size(now[file])}, was {_size(before[file])})"


def _size(entry: Mapping[str, Any]) -> str:
    return f"{entry['rows']:,} rows" if "rows" in entry else f"{entry['lines']:,} lines"


def _document_change(file: str, golden: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    places = [place for place in golden | found if not _same_place(place, golden, found)]
    if places:
        place = places[0]
        more = f" (and at {len(places) - 1} more places)" if len(places) > 1 else ""
        yield f"{file} changed at {place}: {found.get(place, 'gone')}, was {golden.get(place, 'absent')}{more}"


def _same_place(place: str, golden: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return place in golden and place in found and close(golden[place], found[place])


def close(golden: Any, found: Any) -> bool:
    """Whether two JSON values are the same, floats within the tolerance, as numbers and in sentences."""
    if isinstance(golden, Mapping) and isinstance(found, Mapping):
        return golden.keys() == found.keys() and all(close(golden[key], found[key]) for key in golden)
    if isinstance(golden, list) and isinstance(found, list):
        return len(golden) == len(found) and all(map(close, golden, found))
    if isinstance(golden, str) and isinstance(found, str):
        return golden == found or (" " in golden and _close_text(golden, found))
    if _is_float(golden, found):
        return math.isclose(golden, found, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)
    return bool(type(golden) is type(found) and golden == found)


def _is_float(golden: Any, found: Any) -> bool:
    """Whether both are numbers and one is no whole number: JSON may write 1.0 for a float that was not quite 1."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (golden, found))
    return numbers and any(isinstance(value, float) for value in (golden, found))


def _close_text(golden: str, found: str) -> bool:
    before, now = _NUMBER.split(golden), _NUMBER.split(found)
    if before[::2] != now[::2]:
        return False
    pairs = zip(map(float, before[1::2]), map(float, now[1::2]), strict=True)
    return all(math.isclose(left, right, rel_tol=_RELATIVE_IN_TEXT, abs_tol=_ABSOLUTE) for left, right in pairs)
