"""The first rows of a table of a run, with the texts of the answers that they name."""

from pathlib import Path

import polars as pl

from ..errors import InputError, unknown_name
from ..storage.attached import bring, shown_place
from ..storage.tables import read_parts, read_table
from ..storage.texts import with_texts
from ..tables import TEXTS, polars_schema
from .outdated import consistent


def first_rows(run_dir: Path, table: str, limit: int) -> pl.DataFrame:
    """The first rows of a table; those of `events` and `responses` with their texts.

    Args:
        run_dir: A run's folder.
        table: A name in `tables.TABLES`.
        limit: How many rows.

    Raises:
        InputError: No finished stage of the run has made the table.
    """
    manifests = consistent(run_dir)
    paths = {
        name: run_dir / stage / record.file
        for stage, manifest in manifests.items()
        for name, record in manifest.outputs.items()
    }
    if table not in paths:
        known = paths or ["none: no stage has finished"]
        raise InputError(f"{shown_place(run_dir)}: {unknown_name('table of this run', table, known)}")
    for name in {table, "texts"} & set(paths):
        bring(paths[name])
    rows = next(read_parts(paths[table], table, list(polars_schema(table, optional=True)), limit))
    texts = set(TEXTS) & set(polars_schema(table, optional=True)) - set(polars_schema(table))
    if not texts or "texts" not in paths:
        return rows
    own = read_table(paths["texts"], "texts", where=pl.col("response_id").is_in(rows["response_id"].implode()))
    return with_texts(rows, own, table)
