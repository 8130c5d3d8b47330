"""What is written beside the page: metrics that a program reads, and a model card that the hub understands."""

import copy
import dataclasses
import json

import jsonschema
import polars as pl
import pytest
from huggingface_hub import ModelCard

from tests import report_inputs as made
from thumbline.pipeline.report import Source, metrics_schema, report_files

HOSTILE = "acme/<b>|`x`*\n# heading"


@pytest.fixture(scope="module", params=["dpo_run", "kto_run", "evaluate_only"])
def inputs(request):
    return getattr(made, request.param)()


@pytest.fixture(scope="module")
def files(inputs):
    return report_files(inputs)


def valid(document):
    jsonschema.Draft202012Validator(metrics_schema()).validate(document)
    return document


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(metrics_schema())


def test_metrics_json_fits_its_schema_and_holds_every_row(inputs, files):
    document = valid(json.loads(files["metrics.json"]))
    rows = inputs.tables["metrics"]
    assert len(document["metrics"]) == rows.height
    for found, row in zip(document["metrics"], rows.iter_rows(named=True), strict=True):
        assert {name: found[name] for name in ("evaluator", "metric", "model", "slice", "value", "n")} == {
            name: row[name] for name in ("evaluator", "metric", "model", "slice", "value", "n")
        }
        assert (found["interval"] or {}) == (
            {} if row["ci_low"] is None else {"low": row["ci_low"], "high": row["ci_high"]}
        )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("schema_version"),
        lambda document: document.update(schema_version=2),
        lambda document: document.update(extra=1),
        lambda document: document["metrics"][0].pop("n"),
        lambda document: document["metrics"][0].update(n=-1),
        lambda document: document["metrics"][0].update(interval={"low": 0.1}),
        lambda document: document["reward"].update(kind="best"),
    ],
)
def test_the_schema_refuses_what_is_not_metrics(spoil):
    document = json.loads(report_files(made.evaluate_only())["metrics.json"])
    broken = copy.deepcopy(document)
    spoil(broken)
    valid(document)
    with pytest.raises(jsonschema.ValidationError):
        valid(broken)


def test_a_value_that_is_no_number_is_null_with_its_reason():
    inputs = made.evaluate_only()
    endless = pl.when(pl.col("metric") == "brier").then(float("inf")).otherwise("value")
    frame = inputs.tables["metrics"].with_columns(value=endless)
    spoilt = dataclasses.replace(inputs, tables={**inputs.tables, "metrics": frame})
    document = valid(json.loads(report_files(spoilt)["metrics.json"]))
    found = {row["value"]: row["reason"] for row in document["metrics"] if row["metric"] == "brier"}
    assert found == {None: "the value is inf"}


def test_sources_and_models_are_named_with_their_digests():
    inputs = dataclasses.replace(
        made.evaluate_only(),
        sources=(Source("hub:acme/pairs", 120, "abc123"),),
        models={"acme/helper-7b-dpo": {"model": "f00d", "engine": "vllm 1", "dtype": "bfloat16"}},
    )
    files = report_files(inputs)
    document = valid(json.loads(files["metrics.json"]))
    assert document["sources"] == [{"name": "hub:acme/pairs", "rows": 120, "digest": "abc123"}]
    assert [entry["digest"] for entry in document["models"]] == [None, "f00d"]
    assert "abc123" in files["report.html"] and "f00d" in files["report.html"]
    (result, *_) = ModelCard(files["model_card.md"]).data.eval_results
    assert (result.dataset_type, result.dataset_args) == ("acme/pairs", {"digests": {"pairs": "abc123"}})


def test_the_hubs_own_parser_reads_the_headline_numbers(inputs, files):
    card = ModelCard(files["model_card.md"])
    subject = {"acme/helper-7b-dpo"} if inputs.config is None else {"trained"}
    rows = inputs.tables["metrics"].filter(pl.col("model").is_in(subject) & pl.col("slice").is_null())
    known = {(row["evaluator"], row["metric"]): row for row in rows.iter_rows(named=True)}
    expected = {
        "accuracy": known["pair_accuracy", "accuracy"],
        "reward_margin_mean": known.get(("reward_margin", "mean")),
        "auc": known.get(("unpaired_auc", "auc")),
    }
    found = {result.metric_type: result for result in card.data.eval_results}
    for kind, row in expected.items():
        if row is None or row["value"] is None:
            assert kind not in found
            continue
        assert found[kind].metric_value == row["value"]
        assert found[kind].metric_args["n"] == row["n"]
        assert found[kind].metric_args.get("ci_low") == row["ci_low"]
    name = "acme/helper-7b-dpo" if inputs.config is None else inputs.run_name
    assert card.data.model_name == name
    assert {result.task_type for result in card.data.eval_results} == {"text-generation"}


def test_the_card_goes_through_the_hubs_writer_unchanged(files):
    card = ModelCard(files["model_card.md"])
    again = ModelCard(str(card))
    assert again.data.eval_results == card.data.eval_results
    assert "## Evaluation on held-out preferences" in again.text


def test_a_card_without_any_number_has_no_index_and_says_why():
    inputs = made.evaluate_only()
    nothing = {name: frame.clear() for name, frame in inputs.tables.items()}
    text = report_files(dataclasses.replace(inputs, tables=nothing))["model_card.md"]
    assert ModelCard(text).data.eval_results is None
    assert "model-index" not in text and "Nothing was held out" in text


def test_a_models_name_cannot_break_the_cards_markdown():
    inputs = made.evaluate_only()
    tables = {
        name: frame.with_columns(pl.col("model").replace("acme/helper-7b-dpo", HOSTILE))
        for name, frame in inputs.tables.items()
    }
    text = report_files(dataclasses.replace(inputs, tables=tables))["model_card.md"]
    card = ModelCard(text)
    assert card.data.model_name == HOSTILE
    body = card.text
    assert "\n# heading" not in body and "<b>" not in body.replace("\\<b\\>", "")
    table = [line for line in body.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {7}
