"""Held-out prompts to answers that the untrained and the trained model write."""

import polars as pl

from ..context import StageContext, StageResult
from ..errors import ConfigError
from ..storage.manifests import Counts
from ..tables import polars_schema

VERSION = 1
INPUTS = ("responses", "splits", "sequences", "row_sequences")
FILES = ("model",)
OUTPUTS = ("generation_prompts", "generations")


def run(context: StageContext) -> StageResult:
    """Sample what the store lacks, score it, write both tables; empty ones where no answers are asked for."""
    if context.config.generations.is_on:
        raise ConfigError("generations: not there yet")
    empty = {table: context.write(table, pl.DataFrame(schema=polars_schema(table))) for table in OUTPUTS}
    return StageResult(outputs=empty, counts=Counts(rows_in=0, rows_out=0))
