"""Sweeps of a tiny model: nothing scored or trained twice, chosen on the validation split, one look at the test."""

import json
from collections import Counter

import polars as pl
import pytest
from typer.testing import CliRunner

import thumbline
from tests.line.conftest import write_config
from thumbline.pipeline import line, sweep
from thumbline.pipeline.cli import main
from thumbline.pipeline.config import load_config
from thumbline.pipeline.engines.store import LogpsStore
from thumbline.pipeline.errors import BusyError, ConfigError, MachineError, TrainingError
from thumbline.pipeline.storage.manifests import read_manifest
from thumbline.pipeline.storage.tables import read_table
from thumbline.pipeline.training.trainer import Trainer

BETAS = sweep.Axis("train.loss.beta", (0.1, 0.5))
SECTIONS = {"splits": {"validation": 0.3, "test": 0.2}, "train": {"max_steps": 3}}


@pytest.fixture
def config(tmp_path, small_log, tiny_model):
    def make(**sections):
        both = {name: {**SECTIONS.get(name, {}), **sections.get(name, {})} for name in {*SECTIONS, *sections}}
        return load_config(write_config(tmp_path, small_log, tiny_model, **both))

    return make


@pytest.fixture
def written(monkeypatch):
    """How often each (key, sequence) was written to a store of log-probs, and how many trainings took a step."""
    sequences, trained = Counter(), []
    write, train = LogpsStore.write, Trainer.run

    def counted(self, scores):
        sequences.update((self.name, score.sequence_id) for score in scores)
        return write(self, scores)

    def noted(self, advance):
        trained.append(self.config)
        return train(self, advance)

    monkeypatch.setattr(LogpsStore, "write", counted)
    monkeypatch.setattr(Trainer, "run", noted)
    return sequences, trained


def run(config, *axes, **options):
    retry = options.pop("retry", False)
    plan = sweep.plan_sweep(config, axes, **options)
    *steps, outcome = sweep.run_sweep(plan, retry=retry)
    return plan, steps, outcome


def table(config, stage, name=None):
    return read_table(config.run_dir / stage / f"{name or stage}.parquet", name or stage)


def of_split(config, split):
    rows = table(config, "sequences", "row_sequences")
    return set(rows.filter((pl.col("split") == split) & (pl.col("role") == "matched"))["sequence_id"])


def models(plan):
    return {path.parent.parent.name for path in (plan.output / "trials").glob("*/train/model")}


def test_one_reference_serves_all_and_no_sequence_is_scored_twice_by_a_model(config, written):
    sequences, trained = written
    plan, _, outcome = run(config(), BETAS, seeds=[0, 1])
    assert set(sequences.values()) == {1}
    key = read_manifest(plan.base.run_dir / "reference").notes["store_key"]
    by_model = Counter(name for name, _ in sequences)
    assert by_model.pop(key) == table(plan.base, "sequences").height
    # Four trained models saw the validation split; the best of them, and no other, the test split.
    validation, test = (of_split(plan.base, split) for split in ("validation", "test"))
    assert sorted(by_model.values()) == [len(validation)] * 3 + [len(validation) + len(test)]
    assert len(trained) == 4
    assert outcome.tested.split == "test"
    for trial in plan.trials:
        assert set(table(trial.config, "policy")["sequence_id"]) == validation
    assert set(table(plan.best(outcome.best), "policy")["sequence_id"]) == test

    _, steps, second = run(config(), BETAS, seeds=[0, 1])
    assert set(sequences.values()) == {1} and len(trained) == 4
    assert all(step.found for step in steps if isinstance(step, sweep.TrialResult))
    assert sweep.trial_table(second).equals(sweep.trial_table(outcome))

    _, _, third = run(config(), sweep.Axis("train.loss.beta", (0.1, 0.3, 0.5)), seeds=[0, 1])
    assert set(sequences.values()) == {1}
    assert [one.loss for one in trained[4:]] == [{"beta": 0.3}] * 2
    assert len(third.results) == 3


def test_shared_tables_lie_on_disk_once(config):
    plan, _, outcome = run(config(), BETAS)
    for config_of in (*(trial.config for trial in plan.trials), plan.best(outcome.best)):
        for shared in ("events/events", "pairs/pairs", "sequences/sequences", "reference/reference"):
            path = f"{shared}.parquet"
            assert (config_of.run_dir / path).samefile(plan.base.run_dir / path)


@pytest.mark.soak
@pytest.mark.slow
def test_a_run_that_was_made_before_is_taken_from(config):
    own = config()
    list(line.run(own, line.select(None, "reference")))
    _, steps, _ = run(own, BETAS)
    base = {step.finished.stage.name: step.finished.action for step in steps if getattr(step, "part", "") == "base"}
    assert set(base.values()) == {"taken"}


@pytest.mark.soak
@pytest.mark.slow
def test_a_trial_trains_the_very_model_that_a_run_of_its_own_would(config, tmp_path):
    plan, _, _ = run(config(), sweep.Axis("train.method", ("dpo", "kto")), keep="all")
    for trial in plan.trials:
        alone = config(train={"max_steps": 3, "method": trial.config.train.method})
        alone = alone.model_copy(update={"name": f"alone-{trial.config.train.method}"})
        list(line.run(alone, line.select(None, "train")))
        ours, theirs = (read_manifest(one.run_dir / "train").files["model"] for one in (trial.config, alone))
        assert ours == theirs, trial.name
    kto = table(plan.trials[1].config, "metrics", "scored_unpaired")
    assert kto["loss"].null_count() == 0


def test_the_best_is_that_of_the_validation_split_and_its_run_file_has_nothing_left_to_do(config, monkeypatch):
    plan, _, outcome = run(config(), BETAS, seeds=[0, 1])
    trials = sweep.trial_table(outcome)
    assert trials.columns[:4] == ["trial", "setting", "seed", "train.loss.beta"]
    means = trials.group_by("setting", maintain_order=True).agg(pl.col("accuracy", "auc").mean())
    assert outcome.best.name == means.sort("accuracy", "auc", descending=True)["setting"][0]
    assert trials.filter(pl.col("best"))["setting"].unique().to_list() == [outcome.best.name]
    for trial, row in zip(plan.trials, trials.sort("train.loss.beta", "seed").iter_rows(named=True), strict=True):
        metrics = table(trial.config, "metrics").filter(
            (pl.col("evaluator") == "pair_accuracy")
            & (pl.col("metric") == "accuracy")
            & (pl.col("model") == "trained")
            & pl.col("slice").is_null()
        )
        assert (row["trial"], row["accuracy"]) == (trial.name, metrics["value"].item())
    found = load_config(plan.output / sweep.BEST_FILE)
    assert found == plan.best(outcome.best)
    assert {planned.action for planned in line.plan(found)} == {"skip"}
    assert found.train.seed == 0
    assert found.train.loss == {"beta": outcome.best.values["train.loss.beta"]}


@pytest.mark.soak
@pytest.mark.slow
def test_models_that_lost_are_deleted_unless_all_are_kept(config):
    plan, _, outcome = run(config(), BETAS, seeds=[0, 1])
    assert models(plan) == {outcome.best.trials[0].name}
    assert (plan.output / "best" / "train" / "model" / "config.json").is_file()
    kept, _, _ = run(config().model_copy(update={"name": "kept"}), BETAS, seeds=[0, 1], keep="all")
    assert models(kept) == {trial.name for trial in kept.trials}


@pytest.mark.soak
@pytest.mark.slow
def test_another_measure_chooses_anew_and_trains_a_deleted_winner_again(config, written):
    _, trained = written
    rates = sweep.Axis("train.learning_rate", (1e-3, 1e-9))
    _, _, first = run(config(), rates)
    assert first.best.values == {"train.learning_rate": 1e-3}
    count = len(trained)
    # Hand the choice to the other one, whose model is gone.
    other = sweep.plan_sweep(config(), [sweep.Axis("train.learning_rate", (1e-9,))])
    *_, second = sweep.run_sweep(other)
    assert second.best.values == {"train.learning_rate": 1e-9}
    assert len(trained) == count + 1
    assert (other.output / "best" / "train" / "model" / "config.json").is_file()


def test_a_trial_that_fails_is_recorded_and_not_chosen_and_the_others_go_on(config, written):
    _, trained = written
    rates = sweep.Axis("train.learning_rate", (1e30, 1e-3))
    plan, steps, outcome = run(config(), rates)
    failure = next(step for step in steps if isinstance(step, sweep.TrialResult))
    assert failure.status == "failed" and "not finite" in failure.error
    assert outcome.best.values == {"train.learning_rate": 1e-3}
    assert [result.status for result in outcome.results] == ["done", "failed"]
    kept = json.loads((plan.trials[0].config.run_dir / "failure.json").read_text())
    assert "not finite" in kept["error"]
    assert any("TrainingError:" in part for part in kept["traceback"])
    assert any("train.py" in part for part in kept["traceback"]) and "not finite" not in str(kept["traceback"])
    assert not (plan.trials[0].config.run_dir / "train.partial").exists()

    count = len(trained)
    _, steps, _ = run(config(), rates)
    again = next(step for step in steps if isinstance(step, sweep.TrialResult))
    assert again.found and again.error == failure.error and len(trained) == count
    run(config(), rates, retry=True)
    assert len(trained) == count + 1


def test_a_failure_among_several_processes_ends_the_command_and_the_next_one_goes_on(config, monkeypatch):
    rates = sweep.Axis("train.learning_rate", (1e30, 1e-3))
    monkeypatch.setattr("thumbline.pipeline.sweep.trials.peers", lambda: "others")
    with pytest.raises(
        TrainingError, match="learning_rate_1e30__seed_0: .*not finite.*the same command goes on with the next"
    ):
        run(config(), rates)
    _, steps, outcome = run(config(), rates)
    assert outcome.best.values == {"train.learning_rate": 1e-3}
    assert [step.found for step in steps if isinstance(step, sweep.TrialResult)] == [True, False]


def test_a_sweep_in_which_all_fail_says_so(config):
    with pytest.raises(
        TrainingError, match="no setting was trained with every seed: 2 of 2 trials failed. The first, "
    ):
        run(config(), sweep.Axis("train.learning_rate", (1e30, 1e31)))


def test_an_error_before_training_is_no_failure_of_a_trial(config, monkeypatch):
    own = config()
    list(line.run(own, line.select(None, "reference")))
    plan = sweep.plan_sweep(own, [BETAS])

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("thumbline.pipeline.training.checkpoints.save_model", full)
    with pytest.raises(MachineError, match="no space is left"):
        list(sweep.run_sweep(plan))
    assert not list(plan.output.rglob("failure.json"))


@pytest.mark.soak
@pytest.mark.slow
def test_other_data_trains_every_trial_again(config, written, small_log, tmp_path):
    _, trained = written
    run(config(), BETAS)
    log = tmp_path / "shorter.jsonl"
    log.write_text("".join(small_log.read_text().splitlines(keepends=True)[:-60]))
    shorter = config(events={"inputs": [str(log)]})
    count = len(trained)
    _, steps, _ = run(shorter, BETAS)
    assert len(trained) == count + 2
    assert not any(step.found for step in steps if isinstance(step, sweep.TrialResult))


def test_a_validation_split_without_pairs_is_refused_before_training(config, written):
    _, trained = written
    few = {"splits": {"validation": 0.001, "test": 0.2}}
    with pytest.raises(ConfigError, match="the validation split holds no pair with token ids to choose by accuracy"):
        run(config(**few), BETAS)
    with pytest.raises(ConfigError, match="no unpaired row with token ids to choose by auc.*or choose by --metric acc"):
        run(config(**few, train={"method": "kto"}), BETAS)
    assert trained == []


def test_pairs_of_which_one_side_is_too_long_are_none_to_choose_by(tmp_path, tiny_model, written):
    _, trained = written
    log = tmp_path / "log.jsonl"
    vote = {"model": "tiny", "timestamp": "2026-01-01T10:00:00Z", "user_id": "ann"}
    lines = [
        {**vote, "prompt": f"Garden {number}?", "response": text, "feedback": thumb, "conversation_id": f"c{number}"}
        for number in range(40)
        for text, thumb in (("In May, thanks.", "thumbs_up"), ("Go away! " * 60, "thumbs_down"))
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    own = load_config(write_config(tmp_path, log, tiny_model, **SECTIONS))
    with pytest.raises(ConfigError, match="holds no pair with token ids.*sequences.max_tokens \\(now 128\\)"):
        run(own, BETAS)
    kto = own.model_copy(update={"train": own.train.model_copy(update={"method": "kto"})})
    with pytest.raises(ConfigError, match="holds no undesirable row with token ids to choose by auc"):
        run(kto, BETAS)
    assert trained == []


def test_two_sweeps_cannot_share_a_folder(config):
    plan = sweep.plan_sweep(config(), [BETAS])
    first = sweep.run_sweep(plan)
    next(first)
    with pytest.raises(BusyError, match="another process"):
        next(sweep.run_sweep(plan))
    first.close()


@pytest.mark.soak
@pytest.mark.slow
def test_a_run_without_a_test_split_ends_with_the_model(config):
    plan, _, outcome = run(config(splits={"test": 0.0, "validation": 0.3}), BETAS)
    assert outcome.tested is None
    assert (plan.output / "best" / "train" / "model" / "config.json").is_file()


def test_the_command_prints_and_writes_what_was_found(tmp_path, small_log, tiny_model):
    path = write_config(tmp_path, small_log, tiny_model, **SECTIONS)
    arguments = ["sweep", str(path), "--over", "train.loss.beta=0.1,0.5", "--over", "train.learning_rate=1e-3,1e30"]
    plan = CliRunner().invoke(main.app, [*arguments, "--dry-run"])
    assert plan.exit_code == 0, plan.output
    assert plan.output.count("beta_0") == 4 and not (tmp_path / "runs").exists()
    done = CliRunner().invoke(main.app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, (done.output, done.exception)
    assert "[4/4] beta_0.5__learning_rate_" in done.output
    for said in ("Best of 4 settings: beta 0.", "not finite", "2 settings failed", "On the test split: ", "best.yaml"):
        assert said in done.output, said
    folder = tmp_path / "runs" / "run-sweep"
    facts = json.loads((folder / "sweep.json").read_text())
    assert facts["schema_version"] == 1 and len(facts["settings"]) == 4
    assert facts["over"] == {"train.loss.beta": [0.1, 0.5], "train.learning_rate": [1e-3, 1e30]}
    assert [one["status"] for one in facts["settings"]] == ["done", "done", "failed", "failed"]
    assert facts["settings"][1]["best_less_this"]["more_than_noise"] in (True, False)
    assert pl.read_parquet(folder / "sweep.parquet").height == 4
    page = (folder / "sweep.html").read_text()
    assert "<svg" in page and "Best of 4 settings" in page and 'src="http' not in page
    again = CliRunner().invoke(main.app, [*arguments, "--dry-run"])
    assert again.output.count("skip: done") == 2 and again.output.count("skip: failed") == 2


def test_from_python(tmp_path, small_log, tiny_model):
    path = write_config(tmp_path, small_log, tiny_model, **SECTIONS)
    result = thumbline.sweep(path, {"train.loss.beta": [0.1, 0.5]}, seeds=[0, 1], **{"train.max_steps": 2})
    assert result.verdict.startswith("Best of 2 settings: beta 0.") and result.verdict in repr(result)
    assert result.tested.startswith("On the test split: preference accuracy ")
    assert result.best.settings.train.max_steps == 2
    assert result.best.model.is_dir() and result.best.report.is_file()
    assert result.trials.height == 4 and result.settings.height == 2 and result.comparisons.height == 1
    assert "Best of 2 settings" in result._repr_html_()
    assert result.config == result.folder / "best.yaml" and result.config.is_file()


@pytest.mark.soak
@pytest.mark.slow
def test_trials_can_be_compared_as_any_runs(config, tmp_path):
    plan, _, _ = run(config(), BETAS)
    folders = [str(trial.config.run_dir) for trial in plan.trials]
    done = CliRunner().invoke(main.app, ["compare", *folders, "-o", str(tmp_path / "compared")])
    assert done.exit_code == 0, (done.output, done.exception)
    assert (tmp_path / "compared" / "report.html").is_file()
