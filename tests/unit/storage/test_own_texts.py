"""Few rows of many: the same values and types, without the texts of the rest."""

import polars as pl
import pytest

from thumbline.pipeline.storage.columns import with_own_texts
from thumbline.pipeline.tables import MESSAGES, TABLES, VOTE, polars_schema


def text_bytes(texts):
    return sum(buffer.size for buffer in texts.to_arrow(compat_level=pl.CompatLevel.newest()).buffers() if buffer)


def test_rows_stay_the_same_and_let_go_of_the_others():
    texts = [f"{number} " + "long enough to lie in a buffer " * 30 for number in range(1_000)]
    prompts = pl.Series([[{"role": "user", "content": text}] for text in texts], dtype=MESSAGES)
    votes = pl.Series(["up", None] * 500, dtype=VOTE)
    whole = pl.DataFrame({"row": range(1_000), "completion": texts, "prompt": prompts, "vote": votes})
    few = whole.slice(500, 3)
    own = with_own_texts(few)
    assert own.equals(few)
    assert own.schema == few.schema
    assert text_bytes(few["completion"]) > 900_000
    assert text_bytes(own["completion"]) < 5_000


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_keeps_its_columns(table):
    empty = polars_schema(table).to_frame()
    assert with_own_texts(empty).schema == empty.schema
