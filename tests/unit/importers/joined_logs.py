"""Small logs of formats whose votes and texts are joined, written as files and read as a run reads them."""

import json
from pathlib import Path
from typing import Any

from tests.unit.importers.logs import assistant as assistant
from tests.unit.importers.logs import user as user
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.stages.events import EventsResult, ingest
from thumbline.pipeline.tables import validate

Row = dict[str, Any]


def write(folder: Path, files: dict[str, list[Row]]) -> list[str]:
    """Each file's rows as JSON lines, or as one array where its name ends in .json; the paths as inputs."""
    for name, rows in files.items():
        text = json.dumps(rows, indent=1) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name).write_text(text, encoding="utf-8")
    return [str(folder / name) for name in files]


def read(folder: Path, files: dict[str, list[Row]], **config: Any) -> EventsResult:
    """Events and rejects of the files."""
    folder.mkdir(exist_ok=True)
    result = ingest(EventsConfig(inputs=tuple(write(folder, files)), **config))
    validate("events", result.events)
    validate("rejects", result.rejects)
    return result


def votes(result: EventsResult) -> list[tuple[str, ...]]:
    """The last message before the answer, the answer, and the vote, of each event in the log's order."""
    found = result.events.sort("source_file", "source_line", "vote", "completion").to_dicts()
    return [(event["prompt"][-1]["content"], event["completion"], event["vote"]) for event in found]


def reasons(result: EventsResult) -> list[tuple[int, str]]:
    """Line and reason of each reject."""
    return sorted(result.rejects.select("source_line", "reason").iter_rows())
