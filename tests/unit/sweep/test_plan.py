"""A sweep before any work starts: its trials are the runs that they say, and what cannot be compared is refused."""

import pytest

from thumbline.pipeline.config import build_config
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.sweep import Axis, plan_sweep

BETA = Axis("train.loss.beta", (0.05, 0.1, 0.3))
RATE = Axis("train.learning_rate", (1e-5, 4e-5))


def config(**sections):
    document = {"name": "mine", "model": "demo", "events": {"inputs": ["log.jsonl"]}, "runs": "runs", **sections}
    return build_config(document, origin="test")


def test_a_trial_is_the_run_file_with_its_values_and_its_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_sweep(config(train={"epochs": 2}), [BETA, RATE], seeds=[0, 7])
    assert len(plan.settings) == 6 and len(plan.trials) == 12
    trial = plan.trials[-1]
    assert trial.name == "beta_0.3__learning_rate_4e-05__seed_7"
    train = trial.config.train
    assert (train.loss, train.learning_rate, train.seed, train.epochs) == ({"beta": 0.3}, 4e-5, 7, 2)
    assert trial.config.run_dir == tmp_path / "runs" / "mine-sweep" / "trials" / trial.name
    assert trial.config.metrics.split == "validation"
    assert plan.best(plan.settings[0]).metrics.split == "test"
    assert plan.best(plan.settings[0]).train.seed == 0


def test_paths_are_those_of_the_run_file_wherever_a_trial_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapter").mkdir()
    own = config(splits={"evaluation_sets": {"held": "held.jsonl"}}, reference={"store": "kept", "adapter": "adapter"})
    made = plan_sweep(own, [BETA]).trials[0].config
    assert made.events.inputs == (str(tmp_path / "log.jsonl"),)
    assert made.splits.evaluation_sets == {"held": str(tmp_path / "held.jsonl")}
    assert made.reference.adapter == str(tmp_path / "adapter")
    assert made.store == str(tmp_path / "runs" / "kept")
    hub = plan_sweep(config(events={"inputs": ["hub:a/b"]}, reference={"store": "s3://bucket/store"}), [BETA]).trials[0]
    assert hub.config.events.inputs == ("hub:a/b",) and hub.config.store == "s3://bucket/store"


def test_the_run_file_s_own_setting_is_known_also_where_it_leaves_the_default_out():
    plan = plan_sweep(config(), [BETA, RATE])
    assert [setting.values for setting in plan.settings if setting.is_default] == [
        {"train.loss.beta": 0.1, "train.learning_rate": 1e-5}
    ]
    assert not any(setting.is_default for setting in plan_sweep(config(), [RATE._replace(values=(1.0, 2.0))]).settings)


@pytest.mark.parametrize(
    ("methods", "scope", "mismatched"),
    [
        (("dpo", "ipo"), "method", None),
        (("bco", "kto"), "method", True),
        (("dpo", "bco"), "all", None),
        (("dpo", "kto"), "all", True),
    ],
)
def test_the_shared_stages_hold_the_rows_of_every_method(methods, scope, mismatched):
    plan = plan_sweep(config(), [Axis("train.method", methods)])
    assert all(trial.config.sequences == plan.base.sequences for trial in plan.trials)
    assert (plan.base.sequences.scope, plan.base.sequences.mismatched) == (scope, mismatched)


def test_a_method_is_chosen_by_its_own_kind_of_rows():
    assert plan_sweep(config(), [BETA]).measure.name == "accuracy"
    assert plan_sweep(config(train={"method": "kto"}), [BETA]).measure.name == "auc"
    assert plan_sweep(config(), [Axis("train.method", ("dpo", "kto"))]).measure.name == "accuracy"


@pytest.mark.parametrize("metric", ["margin", "loss"])
def test_a_measure_whose_scale_varies_is_refused(metric):
    assert plan_sweep(config(), [RATE], metric=metric).measure.name == metric
    for axis in (BETA, Axis("train.method", ("dpo", "simpo"))):
        with pytest.raises(ConfigError, match=f"--metric {metric}: the settings differ in what a {metric} is"):
            plan_sweep(config(), [axis], metric=metric)


def test_a_margin_of_a_fixed_scale_can_be_compared_across_betas():
    plan = plan_sweep(config(metrics={"beta": 1.0}), [BETA], metric="margin")
    assert plan.measure.name == "margin"


@pytest.mark.parametrize(
    ("sections", "axes", "options", "reason"),
    [
        ({}, [BETA], {"metric": "acuracy"}, "unknown measure 'acuracy'. Did you mean 'accuracy'"),
        ({}, [BETA], {"keep": "none"}, "--keep: unknown choice 'none'"),
        ({}, [BETA], {"seeds": [1, 1]}, "--seeds 1,1: give one or more numbers, each once"),
        ({}, [BETA], {"seeds": []}, "--seeds"),
        ({"splits": {"validation": 0.0}}, [BETA], {}, "splits.validation is 0"),
        ({}, [Axis("train.learning_rat", (1,))], {}, "unknown key 'learning_rat'. Did you mean 'learning_rate'"),
        ({}, [Axis("train.learning_rate", (1e-5, -1.0))], {}, "learning_rate -1.0"),
        ({}, [Axis("train.loss.betta", (0.1,))], {}, "sweep, betta 0.1: train: "),
        ({}, [Axis("train.method", ("dpo", "dpoo"))], {}, "sweep, method dpoo"),
        ({}, [Axis("train.ld_alpha", (1.0, 0.5))], {}, "sweep, ld_alpha 0.5: train.ld_alpha: dpo takes"),
        ({}, [Axis("train.loss.beta", (0.1, 0.1))], {}, "beta 0.1 trains the same model as beta 0.1"),
        ({}, [Axis("train.epochs", (1, 1.0))], {}, "epochs 1.0 trains the same model as epochs 1"),
        ({}, [Axis("train.checkpoint_every", (10, 20))], {}, "the setting changes no result"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(sections, axes, options, reason):
    with pytest.raises(ConfigError) as refused:
        plan_sweep(config(**sections), axes, **options)
    assert reason in str(refused.value)


def test_a_setting_of_training_that_reaches_the_shared_stages_is_refused(monkeypatch):
    from thumbline.pipeline.stages import reference

    own = reference.settings
    monkeypatch.setattr(reference, "settings", lambda run: {**own(run), "rate": run.train.learning_rate})
    with pytest.raises(ConfigError, match="learning_rate 4e-05 changes the stage reference, which all trials share"):
        plan_sweep(config(), [RATE])
