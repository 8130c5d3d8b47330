"""A text is never more likely than certain: such scored rows are refused, but for rounding."""

import polars as pl
import pytest

import thumbline
from tests.unit.evaluation.rows import margins, scored
from thumbline.pipeline.errors import InputError


def test_losses_in_place_of_log_probs_are_refused(tmp_path):
    rows = scored("trained", margins(15, 5)).with_columns(-pl.col("policy_rejected_logps"))
    said = (
        r"20 of 20 rows have a policy_rejected_logps above 0 .*0.01 nats a token; first: p000, p001, p002.*their sign"
    )
    with pytest.raises(InputError, match=said):
        thumbline.evaluate(rows)
    rows.write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="rows: 20 of 20"):
        thumbline.evaluate(tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([1, 2], r"column 'model' holds Int64, not names as text"),
        ([["a"], ["b"]], r"column 'model' holds List\(String\), not names"),
        (["a", None], r"rows: 1 of 2 rows name no model; fill or drop column 'model'"),
    ],
)
def test_models_without_names_are_refused(models, said):
    rows = scored("trained", margins(1, 1)).with_columns(model=pl.Series(models))
    with pytest.raises(InputError, match=said):
        thumbline.evaluate(rows)


def test_what_rounding_makes_is_taken():
    rows = scored("trained", margins(15, 5)).with_columns(policy_rejected_logps=0.04)
    assert thumbline.evaluate(rows, draws=100).metrics.height
    with pytest.raises(InputError, match="above 0 by more than rounding"):
        thumbline.evaluate(rows.with_columns(policy_rejected_logps=0.06))
