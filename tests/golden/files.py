"""The golden files: one JSON file a group of entries, a table on one line."""

import json
from pathlib import Path
from typing import Any, Final

from tests.golden.comparison import Entries

FOLDER: Final = Path(__file__).parent
_WIDTH: Final = 100


def read(group: str) -> dict[str, Any]:
    """The committed entries of a group; none where it has no file yet."""
    path = FOLDER / f"{group}.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def write(group: str, entries: Entries) -> None:
    """Replace a group's file."""
    (FOLDER / f"{group}.json").write_text(_rendered(dict(sorted(entries.items())), "") + "\n", encoding="utf-8")


def _rendered(value: Any, indent: str) -> str:
    """JSON with a line for each key, but on one line where that is short or holds no object."""
    line = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, dict) and any(isinstance(inside, dict) for inside in value.values())
    if not isinstance(value, dict) or not (nested or (len(value) > 1 and len(line) > _WIDTH and len(indent) < 6)):
        return line
    deeper = indent + "  "
    lines = [f"{deeper}{json.dumps(key)}: {_rendered(inside, deeper)}" for key, inside in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
