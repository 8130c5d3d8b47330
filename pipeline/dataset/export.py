"""Unpaired rows and pairs by split, beside a card: the folder is a data set of its own, ready to load or upload."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from ..config import RunConfig
from ..storage.digests import digest_file, digest_text
from ..storage.files import write_text
from ..storage.manifests import read_manifest
from ..storage.parquet import write_parquet
from ..storage.tables import read_table
from ..tables import SPLIT
from .card import CARD, dataset_card

FOLDER: Final = "dataset"
REPORT: Final = "data_report.html"
KINDS: Final = ("unpaired", "pairs")


class Exported(NamedTuple):
    """What was written, relative to the run's folder.

    Attributes:
        rows: Rows by Parquet file.
        card: The data set's card.
        report: The page on the data.
    """

    rows: Mapping[str, int]
    card: str
    report: str


def export_dataset(config: RunConfig, command: str) -> Exported:
    """Write `dataset/` with its card, and the page on the data beside it.

    Args:
        config: A run that has reached its splits.
        command: The command line, for the page.

    Raises:
        PipelineError: The run has not reached its splits.
    """
    splits = read_table(config.run_dir / "splits" / "splits.parquet", "splits")
    written: dict[str, int] = {}
    for kind in KINDS:
        rows = read_table(config.run_dir / kind / f"{kind}.parquet", kind)
        placed = rows.join(splits, on="prompt_id", how="inner", validate="m:1")
        for split in SPLIT.categories:
            part = placed.filter(pl.col("split") == split).drop("split")
            name = f"{FOLDER}/{kind}/{split}.parquet"
            write_parquet(config.run_dir / name, part)
            written[name] = part.height
    card = f"{FOLDER}/{CARD}"
    digest = digest_text(*(digest_file(config.run_dir / name) for name in written))
    write_text(config.run_dir / card, dataset_card(config, written, digest))
    write_text(config.run_dir / REPORT, _page(config, command))
    return Exported(written, card, REPORT)


def _page(config: RunConfig, command: str) -> str:
    from ..report import ReportInputs
    from ..report.prepared import TABLES, render_prepared
    from ..report.run_facts import read_manifests, versions

    return render_prepared(
        ReportInputs(
            title="Prepared feedback",
            run_name=config.name,
            command=command,
            generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            manifests=read_manifests(config.run_dir),
            tables=_tables(config.run_dir, TABLES),
            versions=versions(),
        )
    )


def _tables(run_dir: Path, names: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    """Those of the named tables that the run's stages have written."""
    found: dict[str, pl.DataFrame] = {}
    for stage in sorted(path.parent for path in run_dir.glob("*/manifest.json")):
        manifest = read_manifest(stage)
        for name in () if manifest is None else manifest.outputs:
            if name in names:
                found[name] = read_table(stage / f"{name}.parquet", name)
    return found
