"""Which rows of a split are trained on: those that the method learns from, and no more than were asked for."""

from typing import Final

import polars as pl

from ..config import TrainConfig
from ..identity import digest
from .methods import main_method

_ID: Final = ("pair_id", "response_id")


def selected(rows: pl.DataFrame, config: TrainConfig, split: str) -> pl.DataFrame:
    """The rows of a split that are trained on, or measured while training.

    Args:
        rows: Of table `pairs` or `unpaired`, with `prompt_id`, the row's own id, and of `unpaired` the label.
        config: The method, and how many rows at most.
        split: Which split; only rows of `train` are limited in number.
    """
    if main_method(config).spec.liked_only:
        rows = rows.filter(pl.col("label"))
    return rows if config.most_rows is None or split != "train" else first_rows(rows, config.most_rows, config.seed)


def first_rows(rows: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """At most so many rows: those of the first prompts in an order that a seed draws, one prompt after the other.

    Fewer rows are a part of more, pairs and unpaired rows are of the same prompts first, and a prompt's rows are drawn
    too. The order follows from ids and seed alone, whatever the order of the table.

    Args:
        rows: With `prompt_id` and the row's own id.
        most: How many.
        seed: Of the order.
    """
    own = next(name for name in _ID if name in rows.columns)
    drawn = (digest(pl.lit(f"{seed}:") + pl.col(name)) for name in ("prompt_id", own))
    order = rows.select(*(one.alias(str(place)) for place, one in enumerate(drawn)), row=pl.int_range(pl.len()))
    return rows[order.sort("0", "1")["row"].head(most).sort()]


def of_model(rows: pl.DataFrame, responses: pl.DataFrame, model: str) -> pl.DataFrame:
    """The rows whose answers one model wrote.

    Args:
        rows: Of table `pairs` or `unpaired`, with the ids of their answers.
        responses: `response_id` and `model`.
        model: Its name.
    """
    written = responses.filter(pl.col("model") == model)["response_id"].implode()
    ids = [name for name in rows.columns if name.endswith("response_id")]
    return rows.filter(*(pl.col(name).is_in(written) for name in ids))
