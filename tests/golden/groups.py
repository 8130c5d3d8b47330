"""What is golden: the tables of prepared logs, of every format, and of tiny runs with their reports and commands."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import polars as pl
from typer.testing import CliRunner

from tests.golden import contents
from tests.golden.comparison import Entry
from tests.golden.fixtures import LOGS
from tests.line.conftest import write_config, write_log
from tests.line.test_commands import scored_pairs
from tests.line.test_evaluate import HF, PAIRS
from tests.tiny import save_tiny_model
from thumbline.evaluators.registry import EVALUATORS
from thumbline.pipeline import line
from thumbline.pipeline.cli import main
from thumbline.pipeline.config import RunConfig, load_config
from thumbline.pipeline.dataset import trl

SAMPLE: Final = Path(__file__).parents[2] / "data" / "sample" / "thumbs.jsonl"
VERSIONS: Final = {stage.name: stage.version for stage in line.STAGES}
_EVALUATORS: Final = {f"evaluator {name}": spec.version for name, spec in EVALUATORS.items()}
# The first stage whose tables come from a model's arithmetic.
_FIRST_TRAINED: Final = line.STAGE_NAMES.index("reference")

# Places in the JSON files that tell when, where and with what they were made.
_CIRCUMSTANCES: Final = re.compile(
    r"generated_at|command|versions|models\[\d+\]|sources\[\d+\]|lineage\.(digests|versions|yaml|commands|settings"
    r"|total_seconds|stages)|evaluation\.measures"
)
# The page's last parts are the stages' times and the lineage; a figure's lines lie where its numbers are.
_LINEAGE: Final = re.compile(r'<section[^>]*id="stages".*', re.DOTALL)
_FIGURE: Final = re.compile(r"<svg.*?</svg>", re.DOTALL)
_FILE_DIGEST: Final = re.compile(r"\b[0-9a-f]{64}\b")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:+]+( UTC)?")

# One setting or more of every stage of the preparation that the sample log can show.
_RICH: Final[dict[str, dict[str, Any]]] = {
    "responses": {"reliability": "dawid_skene", "half_life_days": 90, "min_confidence": 0.6, "screen_secrets": True}
    | {"min_completion_chars": 40, "screen_personal_data": True, "languages": ["en"]},
    "unpaired": {"weight_by_confidence": True, "weight_by_recency": True},
    "pairs": {"strategy": "all_above_margin", "group_prompts": "near_duplicate", "max_similarity": 0.6},
    "splits": {"method": "time", "near_duplicates": True},
    "sequences": {"max_tokens": 400, "truncation": "keep_end", "scope": "all"},
    "train": {"method": "kto"},
}


def prepared(folder: Path) -> dict[str, Entry]:
    """Every table up to the sequences: of the sample log, of it with many settings, and of comparisons."""
    with chdir(folder):
        shutil.copy(SAMPLE, "thumbs.jsonl")
        save_tiny_model(Path("tiny"))
        made = _entries("sample", "sequences", Path("thumbs.jsonl"), sequences={"max_tokens": 1024})
        made |= _entries("sample with settings", "sequences", Path("thumbs.jsonl"), **_RICH)
        inputs = [path for name in ("helpsteer", "fastchat", "trl", "thumbs_jsonl with signals") for path in _log(name)]
        events = {"inputs": inputs, "format": "auto"}
        shown = {"responses": {"exposure": "propensity"}, "unpaired": {"weight_by_exposure": True}}
        return made | _entries("comparisons", "sequences", Path("thumbs.jsonl"), events=events, **shown)


def formats(folder: Path) -> dict[str, Entry]:
    """What the stage `events` makes of a log of every format."""
    with chdir(folder):
        return {name: _events(name) for name in LOGS}


def trained(folder: Path) -> dict[str, Entry]:
    """Tables and reports of two tiny runs, and what the commands make of them and of rows beside them."""
    with chdir(folder):
        write_log(Path("thumbs.jsonl"))
        save_tiny_model(Path("tiny"))
        save_tiny_model(Path("other"), seed=1)
        made = _entries("dpo", "report", Path("thumbs.jsonl"))
        made |= _entries("kto", "report", Path("thumbs.jsonl"), train={"method": "kto"})
        return made | _commands()


GROUPS: Final[dict[str, Callable[[Path], dict[str, Entry]]]] = {
    "prepared": prepared,
    "formats": formats,
    "trained": trained,
}


def _log(name: str) -> list[str]:
    return LOGS[name].inputs(Path(name.replace(" ", "_")))


def _events(name: str) -> Entry:
    log = LOGS[name]
    # Most lines of these small logs are there to be rejected.
    events = {"inputs": _log(name), "most_rejected": 1.0, **log.settings}
    (made,) = _entries(name, "events", Path("unused"), events=events).values()
    return made


def _entries(name: str, last: str, log: Path, **sections: Any) -> dict[str, Entry]:
    """An entry for each stage of a run, up to `last`."""
    config = load_config(write_config(Path(), log, Path("tiny"), name.replace(" ", "_"), **sections))
    stages = line.select(None, last)
    for _ in line.run(config, stages):
        pass
    return {f"{name}: {stage.name}": _stage_entry(config, stage) for stage in stages}


def _stage_entry(config: RunConfig, stage: line.Stage) -> Entry:
    folder = config.run_dir / stage.name
    is_trained = line.STAGE_NAMES.index(stage.name) >= _FIRST_TRAINED
    after = {name: VERSIONS[name] for name in _upstream(stage)}
    if stage.name in ("metrics", "report"):
        after |= _EVALUATORS
    return {"version": stage.version, "after": after, **_folder_content(folder, is_trained)}


def _upstream(stage: line.Stage) -> list[str]:
    """The stages that a stage's output rests on, in the line's order."""
    found = set()
    for other in line.STAGES:
        makes = {*other.outputs, *other.folders}
        if makes & {*stage.inputs, *stage.files}:
            found |= {other.name, *_upstream(other)}
    return [name for name in line.STAGE_NAMES if name in found]


def _folder_content(folder: Path, is_trained: bool) -> dict[str, Any]:
    """Tables, JSON documents and texts that lie in a folder, by file name; a manifest is left out."""
    digest = contents.trained_table if is_trained else contents.table
    tables = {path.name: digest(pl.read_parquet(path)) for path in sorted(folder.glob("*.parquet"))}
    documents = {path.name: _document(path) for path in sorted(folder.glob("*.json")) if path.name != "manifest.json"}
    paths = sorted([*folder.glob("*.html"), *folder.glob("*.md")])
    return _filled(tables=tables, documents=documents, texts={path.name: _text(path) for path in paths})


def _filled(**kinds: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: found for kind, found in kinds.items() if found}


def _document(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    curves = found.get("training", {}).get("curves", [])
    if isinstance(curves, list):
        # Before the first step all rewards are rounding, and so is which of two is larger.
        found.setdefault("training", {})["curves"] = [curve for curve in curves if curve["metric"] != "accuracy"]
    return contents.document(found, _CIRCUMSTANCES)


def _text(path: Path) -> dict[str, Any]:
    plain = _FIGURE.sub("", _LINEAGE.sub("", path.read_text(encoding="utf-8")))
    return contents.text(_FILE_DIGEST.sub("", _DATE.sub("", plain)))


def _commands() -> dict[str, Entry]:
    """What the commands write, on the runs `dpo` and `kto` and on rows of their own."""
    _write_rows(Path("pairs.jsonl"), PAIRS)
    pl.DataFrame(scored_pairs()).write_parquet("scored.parquet")
    compared = ("-m", "other", "--reference", "tiny", *HF)
    return {
        "command prepare": _prepare("thumbs.jsonl"),
        "command reference": _reference("pairs.jsonl"),
        "command evaluate of scored rows": _evaluation("evaluate", "scored.parquet", "--draws", "200"),
        "command evaluate of pairs": _evaluation("evaluate", "pairs.jsonl", *compared),
        "command evaluate of a run": _evaluation("evaluate", "runs/dpo", "--draws", "200"),
        "command compare": _evaluation("compare", "runs/dpo", "runs/kto", "--draws", "200"),
    }


def _evaluation(*arguments: str) -> Entry:
    folder = _run_command(*arguments)
    # Some of what is evaluated is a run, whose model `train` made.
    after = {name: VERSIONS[name] for name in ("report", "reference", "train")} | _EVALUATORS
    content = _folder_content(folder, is_trained=True)
    # The facts behind the page, and each number of a run, are golden with the runs.
    numbers = content["documents"]["metrics.json"]
    if "runs/dpo" in arguments:
        numbers = {place: leaf for place, leaf in numbers.items() if not place.startswith("metrics[")}
    content["documents"] = {"metrics.json": numbers}
    return {"version": VERSIONS["metrics"], "after": after, **content}


def _prepare(log: str) -> Entry:
    """The data set that it exports, which comes from the stages up to the splits, and its page."""
    folder = _run_command("prepare", log)
    stages = line.select(None, "splits")
    content = _folder_content(folder, is_trained=False)
    card = _folder_content(folder / "dataset", is_trained=False)
    paths = sorted((folder / "dataset").glob("*/*.parquet"))
    tables = {f"{path.parent.name}/{path.name}": contents.table(pl.read_parquet(path)) for path in paths}
    after = {stage.name: stage.version for stage in stages[:-1]}
    after |= {"report": VERSIONS["report"], "dataset": trl.VERSION}
    return {"version": VERSIONS["splits"], "after": after, "tables": tables, "texts": content["texts"] | card["texts"]}


def _reference(rows: str) -> Entry:
    path = _run_command("reference", rows, "-m", "tiny", *HF[:4]) / "out.parquet"
    after = {"sequences": VERSIONS["sequences"]}
    tables = {path.name: contents.trained_table(pl.read_parquet(path))}
    return {"version": VERSIONS["reference"], "after": after, "tables": tables}


def _run_command(*arguments: str) -> Path:
    """Run a command into a new folder, which is given back."""
    folder = Path("made") / f"{arguments[0]}-{Path(arguments[1]).stem}"
    output = folder / "out.parquet" if arguments[0] == "reference" else folder
    words = [*arguments, "-o", str(output)]
    # What was typed is written to the card and the page.
    with patch.object(sys, "argv", ["thumbline", *words]):
        result = CliRunner().invoke(main.app, words)
    if result.exit_code:
        raise AssertionError(f"{' '.join(words)}: {result.output}") from result.exception
    return folder


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
