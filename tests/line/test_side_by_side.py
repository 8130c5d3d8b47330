"""Methods side by side on a tiny model: one reference and token budget, nothing scored twice, all found again."""

import json
from collections import Counter

import polars as pl
import pytest
from typer.testing import CliRunner

import thumbline
from tests.line.conftest import write_config
from thumbline.pipeline.cli import main
from thumbline.pipeline.engines.store import LogpsStore
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.side_by_side.budget import trained_rows
from thumbline.pipeline.storage.manifests import read_manifest
from thumbline.pipeline.training.trainer import Trainer

pytestmark = pytest.mark.slow

SECTIONS = {
    "splits": {"validation": 0.3, "test": 0.3},
    "train": {"epochs": 1, "layout": "padded"},
    "metrics": {"bootstrap_draws": 100},
}
ANSWERS = {"generations": {"samples": 1, "prompts": 6, "max_new_tokens": 6, "engine": "hf"}}


@pytest.fixture(scope="module")
def compared(tmp_path_factory, small_log, tiny_model):
    """A comparison that was made by its command, and what was trained and scored for it, twice over."""
    folder = tmp_path_factory.mktemp("compared")
    judge = folder / "taste.py"
    judge.write_text("def short(completion):\n    return -float(len(completion))\n")
    path = write_config(folder, small_log, tiny_model, **SECTIONS, **ANSWERS, judges=[{"judge": f"{judge}:short"}])
    scored, trained = Counter(), []
    write, train = LogpsStore.write, Trainer.run

    def counted(self, scores):
        scored.update((self.name, score.sequence_id) for score in scores)
        return write(self, scores)

    def noted(self, advance):
        trained.append(self.config)
        return train(self, advance)

    arguments = ["compare-methods", str(path), "--methods", "sft,dpo", "--for", "sft.learning_rate=2e-3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogpsStore, "write", counted)
        patch.setattr(Trainer, "run", noted)
        done = [CliRunner().invoke(main.app, arguments) for _ in range(2)]
    return folder / "runs" / "run-methods", done, scored, trained


def test_nothing_is_scored_or_trained_twice_and_a_second_command_finds_all(compared):
    folder, (first, second), scored, trained = compared
    assert first.exit_code == 0, (first.output, first.exception)
    assert second.exit_code == 0 and second.output.count("up to date") == 10
    assert set(scored.values()) == {1}
    assert [(one.method, one.learning_rate) for one in trained] == [("sft", 2e-3), ("dpo", 1e-3)]
    for shared in ("events/events", "sequences/sequences", "reference/reference"):
        own = [folder / "trials" / f"{name}__seed_0" / f"{shared}.parquet" for name in ("sft", "dpo")]
        assert all(path.samefile(folder / "base" / f"{shared}.parquet") for path in own)
    assert not list((folder / "trials").glob("*/train/model"))


def test_all_train_on_as_many_completion_tokens(compared):
    folder, _, _, trained = compared
    table = pl.read_parquet(folder / "methods.parquet")
    sft, dpo = table["completion_tokens"].to_list()
    assert abs(sft - dpo) < 0.1 * dpo
    assert [one.max_steps for one in trained] == table["steps"].to_list()
    # What the trainer says it took: steps of its own rows.
    log = pl.read_parquet(folder / "trials" / "dpo__seed_0" / "train" / "training_log.parquet")
    assert log["step"].max() == table["steps"][1]
    assert table["peak_memory_gib"].min() > 0.1 and table["train_seconds"].min() > 0


def test_the_files_say_what_was_found(compared):
    folder, (first, _), _, _ = compared
    facts = json.loads((folder / "methods.json").read_text())
    sft, dpo = facts["methods"]
    assert (sft["needs"]["reference"], dpo["needs"]["reference"]) == ("none", "stored log-probs")
    assert (sft["needs"]["rows"], dpo["needs"]["rows"]) == ("liked answers", "pairs")
    assert all(method["cost"]["flops"] > 0 for method in facts["methods"])
    for name in ("accuracy", "log_ratio_accuracy", "margin", "auc", "moved", "win_rate", "kl", "length"):
        assert dpo["values"][name]["less_baseline"] is None, name
        less = sft["values"][name]["less_baseline"]
        # Answers that are all cut at one length are alike, and there is nothing to test.
        assert less["p_value"] is not None or (name == "length" and less["difference"] == 0), name
    assert sft["values"]["thumbs_up"] is None
    # The log-ratio is DPO's own reward: beta times it prefers the same answers.
    assert dpo["values"]["accuracy"]["mean"] == dpo["values"]["log_ratio_accuracy"]["mean"]
    metrics = pl.read_parquet(folder / "trials" / "sft__seed_0" / "metrics" / "metrics.parquet")
    own = metrics.filter(pl.col("slice").is_null(), pl.col("model") == "trained", pl.col("metric") == "win_rate")
    assert own["value"].item() == pytest.approx(sft["values"]["win_rate"]["mean"])
    assert read_manifest(folder / "base" / "reference").notes["store_key"]
    page, told = (folder / "methods.html").read_text(), (folder / "methods.md").read_text()
    for text in (page, told):
        for said in ("SFT", "Win rate", "4 models" if "4 models" in text else "2x", "completion tokens"):
            assert said in text, said
    assert page.count("<svg") >= 4 and 'src="http' not in page
    assert "By win rate" in first.output


def test_the_same_from_python_finds_all_and_has_it_as_frames(compared):
    folder, _, _, trained = compared
    before = len(trained)
    run_file = folder.parents[1] / "run.yaml"
    result = thumbline.compare_methods(run_file, ["sft", "dpo"], changes={"sft": {"learning_rate": 2e-3}})
    assert len(trained) == before and result.folder == folder
    assert result.trials["method"].to_list() == ["sft", "dpo"]
    assert set(result.differences["method"]) == {"sft"} and "win_rate" in result.differences["measure"]
    assert result.costs.height == result.preferences.height == result.answers.height == 2
    assert result.run("dpo").metrics.height > 0 and result.page.is_file()
    assert result.verdict in repr(result) and "<table" in result._repr_html_()
    with pytest.raises(ConfigError, match="unknown method 'dpp'"):
        result.run("dpp")
    with pytest.raises(ConfigError, match="trained with seeds 0, not with 7"):
        result.run("dpo", seed=7)


def test_a_curve_trains_on_parts_of_the_rows_and_says_what_they_took(tmp_path, small_log, tiny_model):
    path = write_config(tmp_path, small_log, tiny_model, **SECTIONS)
    done = CliRunner().invoke(main.app, ["annotation-curve", str(path), "--grid", "8"])
    assert done.exit_code == 0, (done.output, done.exception)
    folder = tmp_path / "runs" / "run-annotations"
    table = pl.read_parquet(folder / "annotations.parquet")
    assert table["rows"].to_list() == [8, 8, 4]
    # Each answer of this log has the votes of two users, and a pair stands on two answers.
    assert table["annotations"].to_list() == [2 * answers for answers in table["answers"]]
    assert table["answers"].to_list()[1:] == [8, 4] and table["answers"][0] >= 12
    assert table["completion_tokens"].n_unique() <= 3 and table["steps"].min() >= 1
    facts = json.loads((folder / "annotations.json").read_text())
    assert facts["half_the_effort"] in ("supported", "not supported", "cannot tell")
    assert {claim["point"] for claim in facts["claims"]} <= {"kto__n_8", "kto_half__n_8"}
    page = (folder / "annotations.html").read_text()
    assert "<svg" in page and "Half the effort" in page
    assert facts["half_the_effort"] in done.output
    again = thumbline.annotation_curve(path, [8])
    assert (again.answer, again.grid.height) == (facts["half_the_effort"], 3)
    assert again.trials.drop("trial").equals(table.drop("trial")) and again.verdict in done.output
    refused = CliRunner().invoke(main.app, ["annotation-curve", str(path), "--grid", "8,5000"])
    assert "dpo__n_5000 takes 5,000 pairs, and the training split holds" in str(refused.exception)


def test_rows_are_counted_as_training_counts_them(compared):
    folder, _, _, _ = compared
    from thumbline.pipeline.line import load_saved_config

    config = load_saved_config(folder / "trials" / "dpo__seed_0")
    rows = trained_rows(config, config.train, 0)
    counts = read_manifest(folder / "trials" / "dpo__seed_0" / "train").counts
    assert rows.tokens.size == counts.rows_out and rows.labels is None
