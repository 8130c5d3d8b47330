"""Few rows of many, with texts of their own."""

import polars as pl


def with_own_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """The same rows, their texts copied: rows that were filtered keep the texts of all that they were filtered from."""
    copied = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return pl.DataFrame(pl.from_arrow(copied)).cast(frame.schema)
