"""What is evaluated, whoever scored it, in one form."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from thumbline.evaluators.rewards import RewardKind

from ..config import RunConfig
from ..errors import InputError, examples
from ..report import Source
from ..storage.digests import digest_file
from ..storage.manifests import Manifest
from ..storage.parquet import read_parquet
from .log_probs import check_log_probs

UNTRAINED: Final = "untrained"
# What names a row, by its kind.
KEYS: Final = {"pairs": "pair_id", "unpaired": "response_id"}
_MARK: Final = {"pairs": "policy_chosen_logps", "unpaired": "policy_logps"}


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
        judges: Who judged sampled answers, where that was done here; the first decides.
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
    judges: tuple[str, ...] = ()

    def rows(self) -> dict[str, pl.DataFrame]:
        """The kinds of rows that are there: `pairs`, `unpaired`."""
        frames = {"pairs": self.pairs, "unpaired": self.unpaired}
        return {kind: frame for kind, frame in frames.items() if frame is not None}

    def model_names(self) -> list[str]:
        """Names of all models, sorted."""
        return sorted({name for frame in self.rows().values() for name in frame["model"].unique().to_list()})


def kind_of(columns: Sequence[str]) -> str | None:
    """`pairs` or `unpaired` for the columns of scored rows; None for any other."""
    return next((kind for kind, mark in _MARK.items() if mark in columns), None)


def of_files(*, pairs: Path | None = None, unpaired: Path | None = None, slices: Sequence[str] = ()) -> Subject:
    """Scored rows of two Parquet files, either of which may be absent.

    Raises:
        InputError: A file is missing or unreadable, or a log-prob in it is positive.
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

    Raises:
        InputError: A log-prob is positive.
    """
    for kind, frame in rows.items():
        check_log_probs(frame, "pairs" if kind == "pairs" else "unpaired", name)
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
    """Rows that name no model are those of one, which is called after its file.

    Raises:
        InputError: The column does not hold names, or not in each row.
    """
    if "model" not in frame.columns:
        return frame.with_columns(model=pl.lit(name))
    kind = frame.schema["model"]
    if not isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        raise InputError(f"{name}: column 'model' holds {kind}, not names as text; drop it where all rows are of one.")
    without = frame["model"].null_count()
    if without:
        raise InputError(f"{name}: {without:,} of {frame.height:,} rows name no model; fill or drop column 'model'.")
    return frame.with_columns(pl.col("model").cast(pl.String))
