"""Every stage end to end, on a tiny model and a small log."""

import json
import os
import shutil

import polars as pl
import pytest

from tests.line.conftest import write_config, write_log
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.errors import ConfigError, PipelineError
from thumbline.pipeline.planning.planned import Asked, plan
from thumbline.pipeline.storage.manifests import partial_dir, read_manifest
from thumbline.pipeline.storage.tables import read_table


def run_all(config, stages=line.STAGES, **options):
    return {finished.stage.name: finished.action for finished in line.run(config, stages, **options)}


@pytest.fixture(scope="module")
def dpo_run(tmp_path_factory, small_log, tiny_model):
    config = load_config(write_config(tmp_path_factory.mktemp("dpo"), small_log, tiny_model))
    assert set(run_all(config).values()) == {"ran"}
    return config


def table(config, stage, name=None):
    return read_table(config.run_dir / stage / f"{name or stage}.parquet", name or stage)


def metric(config, name, model, evaluator):
    rows = table(config, "metrics").filter(
        (pl.col("metric") == name)
        & (pl.col("model") == model)
        & (pl.col("evaluator") == evaluator)
        & pl.col("slice").is_null()
    )
    assert rows.height == 1, rows
    return rows.row(0, named=True)


def test_a_run_learns_what_the_votes_say(dpo_run):
    after = metric(dpo_run, "accuracy", "trained", "pair_accuracy")
    before = metric(dpo_run, "accuracy", "untrained", "pair_accuracy")
    assert before["value"] == 0.5
    assert after["value"] > 0.9
    assert after["ci_low"] > 0.5


def test_a_plan_of_a_finished_run_is_of_its_own_rows(dpo_run):
    found = plan(dpo_run, Asked())
    assert found.lengths == "the run's own tables" and found.memory.peak > 0


def test_no_row_is_lost(dpo_run):
    for stage in line.STAGE_NAMES:
        manifest = read_manifest(dpo_run.run_dir / stage)
        manifest.counts.check(stage)
        assert not set(manifest.outputs) - {path.stem for path in (dpo_run.run_dir / stage).glob("*.parquet")}
    events = read_manifest(dpo_run.run_dir / "events").counts
    assert (events.merged, events.rejected) == (1, 1)


def test_no_prompt_group_crosses_splits(dpo_run):
    splits = table(dpo_run, "splits")
    assert splits.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(splits["split"]) == {"train", "validation", "test"}


def test_policy_is_scored_on_held_out_sequences_only(dpo_run):
    rows = table(dpo_run, "sequences", "row_sequences")
    held_out = set(rows.filter(pl.col("split") == "test")["sequence_id"])
    assert set(table(dpo_run, "policy")["sequence_id"]) == held_out
    train = set(rows.filter(pl.col("split") == "train")["sequence_id"])
    assert not held_out & train


def test_a_second_run_does_nothing(dpo_run):
    assert set(run_all(dpo_run).values()) == {"skipped"}
    assert {entry.action for entry in line.plan(dpo_run)} == {"skip"}


def test_the_report_is_one_file_without_network(dpo_run):
    page = (dpo_run.run_dir / "report" / "report.html").read_text()
    assert "<svg" in page
    for outside in ('src="http', "src='http", '<link rel="stylesheet"', "@import"):
        assert outside not in page
    facts = json.loads((dpo_run.run_dir / "report" / "report.json").read_text())
    assert facts["schema_version"]


def test_another_beta_trains_again_and_scores_nothing_again(dpo_run):
    changed = dpo_run.model_copy(
        update={"train": dpo_run.train.model_copy(update={"loss": {"beta": 0.5}, "max_steps": 2}), "name": "beta"}
    )
    run_all(changed, line.select(None, "train"))
    assert read_manifest(changed.run_dir / "reference").notes["scored"] == 0


def test_settings_that_change_nothing_upstream_leave_it_up_to_date(dpo_run, tmp_path):
    changed = dpo_run.model_copy(update={"report": dpo_run.report.model_copy(update={"title": "Another"})})
    plan = {entry.stage.name: (entry.action, entry.reason) for entry in line.plan(changed)}
    assert plan.pop("report") == ("run", "changed setting report.title")
    assert {action for action, _ in plan.values()} == {"skip"}


def test_a_changed_setting_marks_what_may_follow(dpo_run):
    changed = dpo_run.model_copy(update={"pairs": dpo_run.pairs.model_copy(update={"min_margin": 0.2})})
    plan = {entry.stage.name: entry for entry in line.plan(changed)}
    assert plan["responses"].action == "skip"
    assert (plan["pairs"].action, plan["pairs"].reason) == ("run", "changed setting min_margin")
    assert (plan["train"].action, plan["train"].reason) == ("maybe", "after pairs")


def test_a_missing_output_is_made_again(dpo_run, tmp_path_factory, small_log, tiny_model):
    config = load_config(write_config(tmp_path_factory.mktemp("missing"), small_log, tiny_model))
    run_all(config, line.select(None, "pairs"))
    before = read_manifest(config.run_dir / "pairs").outputs["pairs"].sha256
    (config.run_dir / "pairs" / "pairs.parquet").unlink()
    assert run_all(config, line.select(None, "pairs"))["pairs"] == "ran"
    assert read_manifest(config.run_dir / "pairs").outputs["pairs"].sha256 == before


def test_another_run_takes_what_is_the_same_without_a_copy(dpo_run, tmp_path):
    update = {"runs": str(tmp_path), "train": dpo_run.train.model_copy(update={"loss": {"beta": 0.5}, "max_steps": 1})}
    other = dpo_run.model_copy(update=update)
    done = run_all(other, line.select(None, "train"), source=dpo_run.run_dir)
    assert [stage for stage, action in done.items() if action == "ran"] == ["train"]
    assert set(done.values()) == {"taken", "ran"}
    for table in ("events/events", "reference/reference"):
        ours, theirs = ((run.run_dir / f"{table}.parquet") for run in (other, dpo_run))
        assert ours.samefile(theirs)
    assert set(run_all(other, line.select(None, "train"), source=dpo_run.run_dir).values()) == {"skipped"}
    shutil.rmtree(other.run_dir)
    assert run_all(dpo_run, line.select(None, "train"))["reference"] == "skipped"


def test_a_run_of_other_settings_or_without_its_tables_is_not_taken_from(dpo_run, tmp_path):
    other = dpo_run.model_copy(update={"runs": str(tmp_path)})
    pairs = other.pairs.model_copy(update={"min_margin": 0.2})
    done = run_all(other.model_copy(update={"pairs": pairs}), line.select(None, "pairs"), source=dpo_run.run_dir)
    assert done == {"events": "taken", "responses": "taken", "unpaired": "taken", "pairs": "ran"}
    (other.run_dir / "events" / "events.parquet").unlink()
    third = other.model_copy(update={"name": "third"})
    assert run_all(third, line.select(None, "events"), source=other.run_dir) == {"events": "ran"}


def test_a_stage_that_was_taken_in_part_is_not_there(dpo_run, tmp_path, monkeypatch):
    other = dpo_run.model_copy(update={"runs": str(tmp_path)})
    real, left = os.link, [2]

    def killed(source, target):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(source, target)

    monkeypatch.setattr("os.link", killed)
    with pytest.raises(KeyboardInterrupt):
        run_all(other, line.select(None, "responses"), source=dpo_run.run_dir)
    assert not (other.run_dir / "events").exists() and partial_dir(other.run_dir / "events").exists()
    left[0] = 1000
    assert run_all(other, line.select(None, "responses"), source=dpo_run.run_dir)["events"] == "taken"
    assert table(other, "events", "rejects").equals(table(dpo_run, "events", "rejects"))


def test_links_stand_in_where_there_are_no_hard_ones(dpo_run, tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError("no hard links here")

    monkeypatch.setattr("os.link", refused)
    other = dpo_run.model_copy(update={"runs": str(tmp_path)})
    assert run_all(other, line.select(None, "responses"), source=dpo_run.run_dir)["responses"] == "taken"
    assert table(other, "responses").equals(table(dpo_run, "responses"))


def test_the_validation_split_can_be_evaluated_instead(dpo_run, tmp_path):
    update = {"runs": str(tmp_path), "metrics": dpo_run.metrics.model_copy(update={"split": "validation"})}
    chosen_by = dpo_run.model_copy(update=update)
    done = run_all(chosen_by, source=dpo_run.run_dir)
    assert [stage for stage, action in done.items() if action == "ran"] == ["policy", "metrics", "report"]
    splits = table(chosen_by, "splits")
    for name, rows in (("scored_pairs", "pairs"), ("scored_unpaired", "unpaired")):
        scored = table(chosen_by, "metrics", name)
        groups = scored.select("group_id").unique().join(splits, on="group_id", how="left")
        assert set(groups["split"]) == {"validation"}
        assert (
            scored.height
            == 2
            * table(chosen_by, rows)
            .join(splits.filter(pl.col("split") == "validation"), on="prompt_id", how="semi")
            .height
        )
        if name == "scored_pairs":
            assert scored["loss"].null_count() == 0
    assert "The validation split was evaluated" in (chosen_by.run_dir / "report" / "report.html").read_text()
    assert "split: validation" in (chosen_by.run_dir / "report" / "model_card.md").read_text()
    assert "The validation split" not in (dpo_run.run_dir / "report" / "report.html").read_text()


@pytest.mark.parametrize("method", ["kto", "orpo"])
def test_other_methods_are_one_setting_away(tmp_path, small_log, tiny_model, method):
    sections = {"train": {"method": method, "epochs": 4, "learning_rate": 2e-3}}
    config = load_config(write_config(tmp_path, small_log, tiny_model, **sections))
    run_all(config)
    rows = table(config, "sequences", "row_sequences")
    others = {"mismatched": {"train", "validation", "test"}} if method == "kto" else {}
    splits = {role: set(rows.filter(pl.col("role") == role)["split"]) for role in ("matched", "mismatched")}
    assert {role: found for role, found in splits.items() if found} == {"matched": splits["matched"], **others}
    log = table(config, "train", "training_log").filter((pl.col("metric") == "loss") & (pl.col("phase") == "train"))
    assert log["value"].tail(3).mean() < log["value"].head(3).mean()
    assert metric(config, "auc", "trained", "unpaired_auc")["value"] > 0.8


def test_training_never_loads_a_reference_model(tmp_path, small_log, tiny_model, monkeypatch):
    """From stored log-probs, DPO holds one model: one load from disk, and one set of parameters alive."""
    import gc

    import torch
    from transformers import AutoModelForCausalLM, PreTrainedModel

    config = load_config(write_config(tmp_path, small_log, tiny_model))
    run_all(config, line.select(None, "reference"))
    gc.collect()

    def models():
        return [thing for thing in gc.get_objects() if isinstance(thing, PreTrainedModel)]

    # What fixtures of other tests keep.
    others = {id(model) for model in models()}
    loads, alive = [], []
    original = AutoModelForCausalLM.from_pretrained

    def counted(*args, **kwargs):
        loads.append(args)
        return original(*args, **kwargs)

    step = torch.optim.AdamW.step

    def watched(self, *args, **kwargs):
        alive.append(sum(model.base_model is not model and id(model) not in others for model in models()))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", counted)
    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    run_all(config, line.select("train", "train"))
    assert len(loads) == 1
    assert alive and set(alive) == {1}


def test_order_and_names_of_stages_are_checked():
    with pytest.raises(ConfigError, match="unknown stage 'trian'. Did you mean 'train'"):
        line.select("trian", None)
    with pytest.raises(ConfigError, match="comes before"):
        line.select("train", "pairs")


def test_a_stage_whose_input_was_never_made_says_which(tmp_path, small_log, tiny_model):
    config = load_config(write_config(tmp_path, small_log, tiny_model))
    with pytest.raises(PipelineError, match="needs 'responses', which responses has not made yet"):
        run_all(config, line.select("pairs", "pairs"))


def test_two_processes_cannot_share_a_run(tmp_path, small_log, tiny_model):
    config = load_config(write_config(tmp_path, small_log, tiny_model))
    first = line.run(config, line.select(None, "responses"))
    next(first)
    with pytest.raises(PipelineError, match="another process is running this run"):
        run_all(config)
    list(first)


def test_a_log_without_any_vote_is_explained(tmp_path, tiny_model):
    log = write_log(tmp_path / "log.jsonl", prompts=2)
    log.write_text(log.read_text().replace('"thumbs_up"', "null").replace('"thumbs_down"', "null"))
    config = load_config(write_config(tmp_path, log, tiny_model))
    with pytest.raises(PipelineError, match="no response has a label and no pair could be made"):
        run_all(config)
