"""Sampled answers to what each judge says of them."""

from typing import Any

import polars as pl

from ..config import RunConfig
from ..context import StageContext, StageResult
from ..errors import ConfigError
from ..storage.manifests import Counts
from ..tables import polars_schema

VERSION = 1
INPUTS = ("responses", "thumbs_scores", "generation_prompts", "generations")
FILES = ("thumbs_model",)
OUTPUTS = ("judgements", "judged_pairs")


def settings(config: RunConfig) -> dict[str, Any]:
    """The judges."""
    return {"judges": [judge.model_dump(mode="json") for judge in config.judges]}


def run(context: StageContext) -> StageResult:
    """Ask each judge, write `judgements` and `judged_pairs`; empty ones where there is no answer or no judge."""
    if context.config.judges:
        raise ConfigError("judges: not there yet")
    empty = {table: context.write(table, pl.DataFrame(schema=polars_schema(table))) for table in OUTPUTS}
    return StageResult(outputs=empty, counts=Counts(rows_in=0, rows_out=0))
