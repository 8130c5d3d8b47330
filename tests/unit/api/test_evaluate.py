"""`thumbline.evaluate`: scored rows at hand get the numbers, the verdict and the files that the command gives."""

import json

import polars as pl
import pytest

import thumbline
from tests.evaluator_rows import scored_pairs, scored_unpaired
from thumbline.evaluators import EvaluationSettings, evaluate
from thumbline.pipeline.errors import ConfigError, InputError

PAIRS = pl.concat(
    [
        scored_pairs([1.0] * 30 + [-1.0] * 6),
        scored_pairs([0.0] * 36, model="untrained"),
    ]
)
UNPAIRED = scored_unpaired([1.0, 2.0, 0.5, 0.2], [-1.0, 0.3, -0.5, -2.0])


@pytest.fixture(scope="module")
def result():
    return thumbline.evaluate(PAIRS, beta=1.0, draws=200, seed=3)


def test_the_numbers_are_the_evaluators_own(result):
    settings = EvaluationSettings(beta=1.0, bootstrap_draws=200, seed=3, baseline="untrained")
    assert result.metrics.equals(evaluate(PAIRS, None, settings))
    assert result.model == "trained"
    assert result.pairs.equals(PAIRS) and result.unpaired is None


def test_headline_numbers_come_with_their_intervals(result):
    assert result.accuracy.value == pytest.approx(30 / 36)
    assert result.accuracy.low < 30 / 36 < result.accuracy.high
    assert (result.accuracy.n, result.accuracy.groups) == (36, 36)
    assert str(result.accuracy).startswith("83.3% (")
    assert result.margin.value == pytest.approx(24 / 36)
    assert result.auc is None


def test_the_verdict_is_the_reports_first_sentence(result, tmp_path):
    page = result.save(tmp_path / "out")
    assert result.verdict.startswith("The trained model beats the untrained model")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["verdict"]["sentence"] == result.verdict
    assert page.is_file() and (tmp_path / "out" / "model_card.md").is_file()
    again = thumbline.evaluate(tmp_path / "out", draws=200, seed=3)
    assert again.accuracy == result.accuracy
    assert repr(result) == f"<thumbline.Evaluation: {result.verdict}>"


def test_a_file_a_pandas_frame_and_unpaired_rows_are_taken(tmp_path):
    PAIRS.write_parquet(tmp_path / "pairs.parquet")
    of_file = thumbline.evaluate(str(tmp_path / "pairs.parquet"), draws=100)
    both = thumbline.evaluate(PAIRS.to_pandas(), unpaired=UNPAIRED, draws=100)
    assert of_file.accuracy == both.accuracy
    assert both.auc.value == pytest.approx(15 / 16)
    assert thumbline.evaluate(UNPAIRED, draws=100).auc == thumbline.evaluate(unpaired=UNPAIRED, draws=100).auc


def test_rows_that_name_no_model_and_slices_of_ones_own():
    frame = PAIRS.filter(pl.col("model") == "trained").drop("model").with_columns(language=pl.lit("en"))
    result = thumbline.evaluate(frame, slices=["language"], draws=100)
    assert result.model == "rows"
    assert "language=en" in result.metrics["slice"].to_list()
    assert "chance" in result.verdict


def test_the_view_has_the_verdict_and_escapes_names():
    result = thumbline.evaluate(PAIRS.with_columns(model=pl.lit("<b>mine</b>")).unique("pair_id"), draws=100)
    shown = result._repr_html_()
    assert "<b>mine" not in shown and "&lt;b&gt;mine" in shown and "accuracy" in shown


@pytest.mark.parametrize(
    "given, unpaired, message",
    [
        (None, None, "nothing to evaluate: give scored pairs"),
        (pl.DataFrame({"a": [1]}), None, "no scored pairs or unpaired rows: .* the columns are a"),
        (PAIRS, PAIRS, "no scored unpaired rows"),
        ("nowhere.parquet", None, "nowhere.parquet: no such file"),
        ("nowhere.parquet", UNPAIRED, "nowhere.parquet: no such file"),
        (".", UNPAIRED, "a run has unpaired rows of its own"),
        (PAIRS.drop("group_id"), None, "group_id"),
    ],
)
def test_what_holds_no_scored_rows_is_an_input_error(given, unpaired, message):
    with pytest.raises(InputError, match=message):
        thumbline.evaluate(given, unpaired=unpaired)


def test_a_choice_out_of_range_is_a_config_error():
    with pytest.raises(ConfigError, match="confidence"):
        thumbline.evaluate(PAIRS, confidence=2.0)


def test_one_slice_may_be_given_by_its_name_alone():
    rows = PAIRS.with_columns(language=pl.lit("en"))
    assert "language=en" in thumbline.evaluate(rows, draws=100, slices="language").metrics["slice"].to_list()


def test_a_file_where_the_folder_should_be_is_an_input_error(result, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="out: no folder can be made here"):
        result.save(tmp_path / "out")
