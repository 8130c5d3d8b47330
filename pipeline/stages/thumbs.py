"""Votes to a thumbs model: trained on the training split, calibrated on the validation split."""

import polars as pl

from ..context import StageContext, StageResult
from ..errors import ConfigError
from ..storage.manifests import Counts
from ..tables import polars_schema

VERSION = 1
INPUTS = ("unpaired", "pairs", "splits", "sequences", "row_sequences")
FOLDERS = ("thumbs_model",)
OUTPUTS = ("thumbs_log", "thumbs_scores")


def run(context: StageContext) -> StageResult:
    """Train, calibrate, write `thumbs_model`, `thumbs_log` and `thumbs_scores`; or empty tables."""
    if context.config.thumbs.is_on:
        raise ConfigError("thumbs: not there yet")
    empty = {table: context.write(table, pl.DataFrame(schema=polars_schema(table))) for table in OUTPUTS}
    return StageResult(outputs=empty, counts=Counts(rows_in=0, rows_out=0))
