"""Rows that are scored already: of a run, of an earlier evaluation, or of a file."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import polars as pl

from thumbline.evaluators.rewards import RewardKind

from ..errors import ConfigError, InputError, unknown_name
from ..line import CONFIG_FILE, is_run_at, load_saved_config, open_run
from ..reading.files import FileSource, take_sample
from ..reading.records import Reject
from ..report import Source
from ..report.run_facts import INPUTS, read_manifests
from ..storage.attached import shown_place
from ..storage.parquet import read_parquet
from ..storage.sums import check_sums
from ..storage.tables import read_table
from ..tables import polars_schema
from .answers import ANSWER_COLUMNS
from .judged_layouts import judged_layout
from .rows import MAX_LINE_BYTES
from .subject import UNTRAINED, Subject, kind_of, of_files

_METRICS: Final = "metrics.json"
_TABLE: Final = {"pairs": "scored_pairs", "unpaired": "scored_unpaired"}


def run_folder(location: str) -> Path | None:
    """The folder of the run that a folder, an address or a run file means; None where it means no run."""
    path = Path(location)
    if "://" in location:
        return open_run(location).run_dir if is_run_at(location) else None
    if path.suffix in {".yaml", ".yml"}:
        return open_run(location).run_dir
    return path if (path / CONFIG_FILE).is_file() else None


def read_subject(location: str, slices: Sequence[str] = ()) -> Subject:
    """Rows that are scored already: a run, the folder of an evaluation, or a Parquet file.

    Args:
        location: Folder of a run or its run file, folder that `thumbline evaluate` wrote, or scored rows.
        slices: Columns that are evaluated apart.

    Raises:
        InputError: It is none of them, or the run has not been evaluated yet.
    """
    folder = run_folder(location)
    if folder is not None:
        return _of_run(folder, slices)
    path = Path(location)
    if path.is_dir():
        return _of_folder(path, slices)
    columns = _columns(path)
    kind = kind_of(columns)
    if kind is None:
        if not columns:
            raise InputError(f"{location}: {_without_columns(path)}")
        if judged_layout(columns) is not None or set(polars_schema("judged_pairs")) <= set(columns):
            raise InputError(f"{location}: a table of judged pairs without a row, so there is nothing to evaluate.")
        raise InputError(
            f"{location}: no scored rows (columns {', '.join(columns)}). Pairs that are not scored need --model; "
            f"`thumbline tables scored_pairs` lists the columns of scored ones."
        )
    return of_files(**{kind: path}, slices=slices)


def _without_columns(path: Path) -> str:
    """What a file is in which no record can be read: empty, or broken, with the reason of its first row."""
    first = next((row for row in FileSource(path, str(path), MAX_LINE_BYTES).rows() if isinstance(row, Reject)), None)
    if first is None or first.line == 0:
        what = "the file holds no rows" if first is None else first.detail
        return f"{what}, so there is nothing to evaluate."
    return f"no row of it can be read; the first, line {first.line:,}: {first.reason}, {first.detail}."


def _columns(path: Path) -> list[str]:
    """Names of a file's columns: of a Parquet file its schema's, of another those of its first records."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, run or folder.")
    if path.suffix != ".parquet":
        source = FileSource(path, str(path), MAX_LINE_BYTES)
        if foreign := source.content.foreign:
            raise InputError(f"{path}: {foreign}.")
        return take_sample(source).fields
    return read_parquet(path).columns


def _of_folder(folder: Path, slices: Sequence[str]) -> Subject:
    files = {kind: folder / f"{table}.parquet" for kind, table in _TABLE.items()}
    present = {kind: path for kind, path in files.items() if path.is_file()}
    if not present:
        raise InputError(
            f"{folder}: neither the folder of a run ({CONFIG_FILE}) nor of an evaluation "
            f"({', '.join(path.name for path in files.values())})."
        )
    check_sums([*present.values(), folder / _METRICS])
    subject = of_files(**present, slices=slices)
    said = _metrics_of(folder / _METRICS)
    baseline = said.get("baseline")
    return dataclasses.replace(
        subject,
        name=folder.resolve().name,
        baseline=baseline if baseline in subject.model_names() else subject.baseline,
        reward=said.get("reward", {}).get("kind"),
        beta=said.get("reward", {}).get("beta"),
    )


def _metrics_of(path: Path) -> dict[str, Any]:
    """What an evaluation wrote about itself; nothing where the file is not there.

    Raises:
        InputError: The file is not what an evaluation writes.
    """
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no JSON; evaluate again, or remove it.") from error
    if not isinstance(document, dict) or not _is_reward(document.get("reward", {})):
        raise InputError(f"{path}: not the metrics of an evaluation; evaluate again, or remove it.")
    return document


def _is_reward(said: Any) -> bool:
    """Whether it says what a reward is and its scale, or leaves either out."""
    if not isinstance(said, dict):
        return False
    kind, beta = said.get("kind"), said.get("beta")
    is_scale = beta is None or (isinstance(beta, float | int) and not isinstance(beta, bool) and 0 < beta < math.inf)
    return is_scale and (kind is None or kind in get_args(RewardKind))


def _of_run(folder: Path, slices: Sequence[str]) -> Subject:
    config, manifests = load_saved_config(folder), read_manifests(folder)
    if "metrics" not in manifests:
        raise InputError(
            f"{shown_place(folder)}: this run has not reached its metrics stage; `thumbline run` goes on where it is."
        )
    tables = {}
    for manifest in manifests.values():
        for name in set(manifest.outputs) & set(INPUTS) - {"metrics"}:
            tables[name] = read_table(folder / manifest.stage / f"{name}.parquet", name, ANSWER_COLUMNS.get(name))
    notes = manifests["metrics"].notes
    outputs = manifests["metrics"].outputs
    return Subject(
        name=config.name,
        pairs=_with_slices(tables.pop("scored_pairs"), tables.get("pairs"), slices),
        unpaired=tables.pop("scored_unpaired"),
        baseline=UNTRAINED,
        reward=notes["reward"],
        beta=notes["beta"],
        slices=tuple(dict.fromkeys((*config.metrics.slices, *slices))),
        sources=tuple(
            Source(f"{folder.name}/metrics/{outputs[name].file}", outputs[name].rows, outputs[name].sha256)
            for name in _TABLE.values()
        ),
        tables=tables,
        config=config,
        manifests=manifests,
    )


def _with_slices(scored: pl.DataFrame, pairs: pl.DataFrame | None, slices: Sequence[str]) -> pl.DataFrame:
    """Scored pairs with the columns of table `pairs` that are asked for."""
    wanted = [name for name in slices if name not in scored.columns]
    if not wanted:
        return scored
    plain = [] if pairs is None else [name for name, kind in pairs.schema.items() if not kind.is_nested()]
    for name in wanted:
        if name not in plain:
            raise ConfigError(f"--slice: {unknown_name('column', name, plain)}")
    assert pairs is not None, "no column of a table that is absent passes the check above"
    columns = pairs.select("pair_id", *(pl.col(name).cast(pl.String) for name in wanted))
    return scored.join(columns, on="pair_id", how="left", validate="m:1")
