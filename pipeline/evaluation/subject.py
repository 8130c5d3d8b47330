"""What is evaluated: a run, somebody's scored rows, or pairs that models score first, all in one form."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from thumbline.evaluators.rewards import RewardKind

from ..config import RunConfig, load_config
from ..context import Reporter
from ..errors import ConfigError, InputError, examples, unknown_name
from ..line import CONFIG_FILE, load_saved_config
from ..reading.files import FileSource, take_sample
from ..report import Source
from ..report.run_facts import INPUTS, read_manifests
from ..storage.digests import digest_file
from ..storage.manifests import Manifest
from ..storage.parquet import read_parquet, read_table
from .rows import MAX_LINE_BYTES, ReadOptions, read_pairs
from .scoring import ScoringOptions, score_pairs

UNTRAINED: Final = "untrained"
_MARK: Final = {"pairs": "policy_chosen_logps", "unpaired": "policy_logps"}
_TABLE: Final = {"pairs": "scored_pairs", "unpaired": "scored_unpaired"}


@dataclass(frozen=True)
class Subject:
    """Scored rows and all that is known about them.

    Attributes:
        name: What it is called.
        pairs: Scored pairs of every model, with the columns to slice by; None where there are none.
        unpaired: Scored unpaired rows of every model; None where there are none.
        baseline: The model that others are compared with; None where nothing says which.
        focus: The model that the report is about; None where nothing says which.
        reward: What a reward is, where the rows say; None where the user has to.
        beta: Scale of a reward; likewise.
        slices: Columns that are evaluated apart.
        sources: Files and data sets that the rows come from.
        models: What a model's name stands for, where it was scored here.
        tables: Further tables for the report.
        config: The run's settings; None where it is no run.
        manifests: What the run's stages did.
        notes: Sentences that the reader must see.
    """

    name: str
    pairs: pl.DataFrame | None
    unpaired: pl.DataFrame | None
    baseline: str | None = None
    focus: str | None = None
    reward: RewardKind | None = None
    beta: float | None = None
    slices: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    config: RunConfig | None = None
    manifests: Mapping[str, Manifest] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def rows(self) -> dict[str, pl.DataFrame]:
        """The kinds of rows that are there: `pairs`, `unpaired`."""
        found = {"pairs": self.pairs, "unpaired": self.unpaired}
        return {kind: frame for kind, frame in found.items() if frame is not None}

    def model_names(self) -> list[str]:
        """Names of all models, sorted."""
        return sorted({name for frame in self.rows().values() for name in frame["model"].unique().to_list()})


def run_folder(location: str) -> Path | None:
    """The folder of the run that `location` means, by its folder or its run file; None where it means no run."""
    path = Path(location)
    if path.suffix in {".yaml", ".yml"}:
        return load_config(path).run_dir
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
        raise InputError(
            f"{location}: no scored rows (columns {', '.join(columns)}). Pairs that are not scored need --model; "
            f"`thumbline tables scored_pairs` lists the columns of scored ones."
        )
    return of_files(**{kind: path}, slices=slices)


def _columns(path: Path) -> list[str]:
    """Names of a file's columns: of a Parquet file its schema's, of another those of its first records."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, run or folder.")
    if path.suffix != ".parquet":
        return take_sample(FileSource(path, str(path), MAX_LINE_BYTES)).fields
    return read_parquet(path).columns


def kind_of(columns: Sequence[str]) -> str | None:
    """`pairs` or `unpaired` for the columns of scored rows; None for any other."""
    return next((kind for kind, mark in _MARK.items() if mark in columns), None)


def of_files(*, pairs: Path | None = None, unpaired: Path | None = None, slices: Sequence[str] = ()) -> Subject:
    """Scored rows of two Parquet files, either of which may be absent.

    Raises:
        InputError: A file is missing or unreadable.
    """
    files = {kind: path for kind, path in (("pairs", pairs), ("unpaired", unpaired)) if path is not None}
    rows = {kind: _with_model(read_parquet(path), path.stem) for kind, path in files.items()}
    subject = of_frames(rows, examples(path.stem for path in files.values()), slices)
    sources = (Source(str(path), rows[kind].height, digest_file(path)) for kind, path in files.items())
    return dataclasses.replace(subject, sources=tuple(sources))


def of_frames(rows: Mapping[str, pl.DataFrame], name: str, slices: Sequence[str] = ()) -> Subject:
    """Scored rows at hand.

    Args:
        rows: `pairs`, `unpaired`, or both; rows that name no model are those of one, which is called `name`.
        name: What the rows are called.
        slices: Columns that are evaluated apart.
    """
    named = {kind: _with_model(frame, name) for kind, frame in rows.items()}
    models = {model for frame in named.values() for model in frame["model"].unique()}
    return Subject(
        name=name,
        pairs=named.get("pairs"),
        unpaired=named.get("unpaired"),
        baseline=UNTRAINED if UNTRAINED in models else None,
        slices=tuple(slices),
    )


def _with_model(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Rows that name no model are those of one, which is called after its file."""
    return frame if "model" in frame.columns else frame.with_columns(model=pl.lit(name))


def _of_folder(folder: Path, slices: Sequence[str]) -> Subject:
    files = {kind: folder / f"{table}.parquet" for kind, table in _TABLE.items()}
    found = {kind: path for kind, path in files.items() if path.is_file()}
    if not found:
        raise InputError(
            f"{folder}: neither the folder of a run ({CONFIG_FILE}) nor of an evaluation "
            f"({', '.join(path.name for path in files.values())})."
        )
    subject = of_files(**found, slices=slices)
    known = _known_of(folder / "metrics.json")
    baseline = known.get("baseline")
    return dataclasses.replace(
        subject,
        name=folder.resolve().name,
        baseline=baseline if baseline in subject.model_names() else subject.baseline,
        reward=known.get("reward", {}).get("kind"),
        beta=known.get("reward", {}).get("beta"),
    )


def _known_of(path: Path) -> dict[str, Any]:
    """What an evaluation wrote about itself; nothing where the file is not there.

    Raises:
        InputError: The file is not what an evaluation writes.
    """
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: no JSON; evaluate again, or remove it.") from error
    if not isinstance(document, dict) or not isinstance(document.get("reward", {}), dict):
        raise InputError(f"{path}: not the metrics of an evaluation; evaluate again, or remove it.")
    return document


def _of_run(folder: Path, slices: Sequence[str]) -> Subject:
    config, manifests = load_saved_config(folder), read_manifests(folder)
    if "metrics" not in manifests:
        raise InputError(f"{folder}: this run has not reached its metrics stage; `thumbline run` goes on where it is.")
    tables = {}
    for manifest in manifests.values():
        for name in set(manifest.outputs) & set(INPUTS) - {"metrics"}:
            tables[name] = read_table(folder / manifest.stage / f"{name}.parquet", name)
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


def score_subject(
    location: str,
    models: Sequence[str],
    reference: str | None,
    reading: ReadOptions,
    scoring: ScoringOptions,
    reporter: Reporter,
) -> Subject:
    """Pairs of a file or a hub data set, scored by `models`.

    Raises:
        ConfigError: An option does not hold.
        InputError: No pair can be read, a model cannot be had, or no pair is left.
    """
    pairs = read_pairs(location, reading)
    reporter.say(pairs.told())
    scored = score_pairs(pairs, models, reference, scoring, reporter)
    notes = [pairs.told()]
    if scored.dropped:
        told = ", ".join(f"{reason} {count:,}" for reason, count in scored.dropped.items())
        notes.append(f"Left out for all models, since one of them cannot take them: {told}.")
        reporter.say(notes[-1])
    names = list(scored.models)
    baseline = scored.reference or (names[0] if len(names) > 1 else None)
    return Subject(
        name=Path(location).stem if Path(location).is_file() else location,
        pairs=scored.frame,
        unpaired=None,
        baseline=baseline,
        focus=next((name for name in names if name != baseline), None),
        reward="implicit" if scored.reference is not None else "mean_logps",
        slices=pairs.slices,
        sources=(Source(location, pairs.records, pairs.digest),),
        models=scored.models,
        tables={"pairs": pairs.frame.select("pair_id", "prompt", "chosen", "rejected")},
        notes=tuple(notes),
    )
