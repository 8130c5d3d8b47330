"""A run from Python: started, looked at while it is half done, and read when it is done."""

import pytest
import yaml

import thumbline
from tests.line.conftest import write_config
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.line import STAGE_NAMES


@pytest.fixture(scope="module")
def config(tmp_path_factory, small_log, tiny_model):
    return write_config(tmp_path_factory.mktemp("python"), small_log, tiny_model, train={"max_steps": 2})


@pytest.fixture(scope="module")
def half(config):
    return thumbline.run(config, until="splits")


@pytest.fixture(scope="module")
def whole(half, config):
    return thumbline.run(config, train={"max_steps": 3}, **{"metrics.bootstrap_draws": 100})


def test_a_run_that_is_half_done_says_what_is_still_to_do(half):
    assert list(half.manifests) == ["events", "responses", "unpaired", "pairs", "splits"]
    assert (half.verdict, half.report, half.model) == (None, None, None)
    assert repr(half) == f"<thumbline run 'run': 5 of {len(STAGE_NAMES)} stages>"
    assert "Still to run: sequences, thumbs, reference" in half._repr_html_()
    with pytest.raises(thumbline.PipelineError, match="^unknown table 'metrics'"):
        _ = half.metrics


def test_a_run_that_is_done_has_tables_verdict_report_and_model(whole):
    run = thumbline.load(whole.folder)
    assert run.settings.train.max_steps == 3 and run.settings.metrics.bootstrap_draws == 100
    assert {"pairs", "rejects", "scored_pairs", "training_log", "metrics"} <= set(run.tables)
    assert "pairs" in run.tables and len(run.tables) == len(list(run.tables))
    assert run.tables["training_log"]["step"].max() == 3
    assert run.report.is_file() and (run.model / "config.json").is_file()
    assert run.verdict in run._repr_html_().replace("&#x27;", "'") and run.verdict in repr(run)
    assert run.counts["stage"].to_list() == list(run.manifests)


def test_what_is_up_to_date_is_not_run_again(whole, config):
    before = whole.manifests["train"].finished_at
    again = thumbline.run(config, train={"max_steps": 3}, **{"metrics.bootstrap_draws": 100})
    assert again.manifests["train"].finished_at == before


def test_a_run_is_evaluated_as_its_report_says(whole):
    result = thumbline.evaluate(whole)
    assert result.verdict == whole.verdict
    assert result.metrics.equals(whole.metrics)
    assert thumbline.evaluate(whole.folder).accuracy == result.accuracy


def test_a_run_may_be_a_mapping(config):
    document = yaml.safe_load(config.read_text())
    run = thumbline.run(document | {"name": "mapped"}, until="events")
    assert run.folder.name == "mapped" and list(run.manifests) == ["events"]


def test_settings_are_checked_before_anything_runs(config, tmp_path):
    with pytest.raises(ConfigError, match="train: unknown method 'dpp'. Did you mean 'dpop?'"):
        thumbline.run(config, **{"train.method": "dpp"})
    with pytest.raises(ConfigError, match="unknown stage 'split'"):
        thumbline.run(config, until="split")
    with pytest.raises(ConfigError, match="this is not the folder of a run"):
        thumbline.load(tmp_path)
