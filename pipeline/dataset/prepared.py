"""What `prepare` hands out: the run's data set, and the page on the data beside it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from ..config import RunConfig
from ..storage.attached import push_there
from ..storage.files import remove_temporary, write_text
from ..storage.manifests import Manifest
from ..storage.set_aside import forget_aside
from ..storage.tables import read_table
from .card import CARD
from .trl import write_dataset

FOLDER: Final = "dataset"
REPORT: Final = "data_report.html"


class Exported(NamedTuple):
    """What was written, relative to the run's folder.

    Attributes:
        rows: Rows by Parquet file.
        left_out: Rows that no trainer takes, by reason.
        card: The data set's card.
        report: The page on the data.
    """

    rows: Mapping[str, int]
    left_out: Mapping[str, int]
    card: str
    report: str


def export_dataset(config: RunConfig, command: str) -> Exported:
    """Write `dataset/` with its card, and the page on the data beside it; the caller holds the run's lock.

    Args:
        config: A run that has reached its splits.
        command: The command line, for the page.

    Raises:
        PipelineError: The run has not reached its splits.
    """
    folder = config.run_dir / FOLDER
    for place in (folder, *(path for path in folder.glob("*") if path.is_dir())):
        remove_temporary(place)
    written = write_dataset(config, folder)
    push_there(folder)
    forget_aside(folder)
    rows = {f"{FOLDER}/{name}": count for name, count in written.rows.items()}
    return Exported(rows, written.left_out, f"{FOLDER}/{CARD}", write_report(config, command))


def write_report(config: RunConfig, command: str) -> str:
    """Write the page on the data; its name, relative to the run's folder.

    It shows as many stages as have finished, and none whose tables were made of others than lie there now.
    """
    write_text(config.run_dir / REPORT, _page(config, command))
    push_there(config.run_dir / REPORT)
    forget_aside(config.run_dir / REPORT)
    return REPORT


def _page(config: RunConfig, command: str) -> str:
    from ..line import consistent
    from ..report import ReportInputs
    from ..report.prepared import TABLES, render_prepared
    from ..report.run_facts import versions

    manifests = consistent(config.run_dir)
    return render_prepared(
        ReportInputs(
            title="Prepared feedback",
            run_name=config.name,
            command=command,
            generated_at=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            manifests=dict(sorted(manifests.items())),
            tables=_tables(config.run_dir, manifests, TABLES),
            versions=versions(),
        )
    )


def _tables(run_dir: Path, manifests: Mapping[str, Manifest], names: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    """Those of the named tables that the stages have written."""
    return {
        name: read_table(run_dir / stage / f"{name}.parquet", name)
        for stage, manifest in sorted(manifests.items())
        for name in manifest.outputs
        if name in names
    }
