"""What a comparison and a curve are going to do, and what they refuse before any work."""

from pathlib import Path

import numpy as np
import pytest

from thumbline.pipeline.config import TrainConfig, build_config
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.rounds.plan import plan_round
from thumbline.pipeline.side_by_side import plan_curve, plan_methods
from thumbline.pipeline.side_by_side.budget import TrainedRows, nearest_steps, own_steps
from thumbline.pipeline.side_by_side.methods import parse_change
from thumbline.pipeline.sweep import parse_axis, plan_sweep


def config(tmp_path, **train):
    document = {"name": "mine", "model": "demo", "runs": str(tmp_path), "events": {"inputs": ["log.jsonl"]}}
    return build_config(document | {"train": train}, origin="test")


def test_each_method_takes_the_run_files_settings_and_none_of_its_methods_own(tmp_path):
    own = config(tmp_path, method="dpo", loss={"beta": 0.3}, learning_rate=3e-5, weighting="wpo")
    plan = plan_methods(own, ["dpo", "kto"], seeds=[0, 1], changes={"kto": {"loss.beta": 0.2, "batch_rows": 32}})
    dpo, kto = (arm.config.train for arm in plan.arms)
    assert (dpo.loss, dpo.weighting, dpo.learning_rate) == ({"beta": 0.3}, "wpo", 3e-5)
    assert (kto.loss, kto.weighting, kto.learning_rate, kto.batch_rows) == ({"beta": 0.2}, "none", 3e-5, 32)
    assert plan.baseline == "dpo" and plan.output == (tmp_path / "mine-methods")
    # All share one set of sequences, so that KTO's partners and the rows of both kinds are there.
    assert all(arm.config.sequences.scope == "all" and arm.config.sequences.mismatched for arm in plan.arms)
    trial = plan.trial(plan.arms[1], 1, 7)
    assert (trial.name, trial.config.train.max_steps, trial.config.train.seed) == ("kto__seed_1", 7, 1)


def test_methods_that_are_not_there_or_not_possible_are_left_out_and_said(tmp_path):
    plan = plan_methods(config(tmp_path))
    names = [arm.name for arm in plan.arms]
    assert {"sft", "dpo", "ipo", "kto", "orpo", "simpo"} <= set(names)
    assert set(names) | set(plan.left_out) == {"sft", "dpo", "ipo", "kto", "orpo", "simpo", "ppo", "rloo"}
    assert all(plan.left_out.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": ["dpo", "ktoo"]}, "--methods: unknown method 'ktoo'.*kto"),
        ({"methods": ["dpo", "dpo"]}, "--methods: dpo is given more than once"),
        ({"methods": ["dpo"]}, "1 method is left to compare, and it takes two"),
        ({"methods": ["dpo", "kto"], "baseline": "ipo"}, "--baseline: unknown method 'ipo'"),
        ({"methods": ["dpo", "kto"], "tokens": 0}, "--tokens 0"),
        ({"methods": ["dpo", "kto"], "keep": "some"}, "--keep"),
        ({"methods": ["dpo", "kto"], "seeds": [1, 1]}, "--seeds 1,1"),
        ({"methods": ["dpo", "kto"], "changes": {"ipo": {"batch_rows": 3}}}, "--for: unknown method 'ipo'"),
        ({"methods": ["dpo", "kto"], "changes": {"kto": {"loss.gamma": 3}}}, "method kto: .*unknown hyper-parameter"),
    ],
)
def test_what_does_not_hold_is_refused(tmp_path, options, said):
    with pytest.raises(ConfigError, match=said):
        plan_methods(config(tmp_path), **options)


@pytest.mark.parametrize("planned", ["sweep", "methods", "curve", "round"])
def test_a_run_at_an_address_is_refused(planned, tmp_path):
    there = config(tmp_path).model_copy(update={"runs": "s3://bucket/runs"})
    plans = {
        "sweep": lambda: plan_sweep(there, [parse_axis("train.loss.beta=0.1,0.2")]),
        "methods": lambda: plan_methods(there, ["dpo", "kto"]),
        "curve": lambda: plan_curve(there, [50, 100]),
        # As the command gets it, where a path has one slash.
        "round": lambda: plan_round(Path("s3://bucket/runs/mine")),
    }
    with pytest.raises(ConfigError, match=r"s3:/+bucket/runs/mine .*--set runs=FOLDER") as told:
        plans[planned]()
    assert "by links" in str(told.value)


def test_a_change_for_one_method():
    assert parse_change("simpo.learning_rate=1e-6") == ("simpo", "learning_rate", 1e-6)
    assert parse_change("kto.train.loss.beta=0.2") == ("kto", "loss.beta", 0.2)
    for text in ("simpo", "simpo=3", "simpo.=3", ".beta=3"):
        with pytest.raises(ConfigError, match="write it as METHOD.KEY=VALUE"):
            parse_change(text)
    with pytest.raises(ConfigError, match="epochs is the same for all methods, or follows"):
        parse_change("kto.epochs=3")


def test_a_curve_has_three_arms_an_n_with_the_tokens_of_dpo(tmp_path):
    plan = plan_curve(config(tmp_path, method="kto", loss={"beta": 0.4}), [20, 10], seeds=[0])
    assert [(arm.name, arm.config.train.most_rows, arm.budget) for arm in plan.arms] == [
        ("dpo__n_10", 10, "dpo__n_10"),
        ("kto__n_10", 10, "dpo__n_10"),
        ("kto_half__n_10", 5, "dpo__n_10"),
        ("dpo__n_20", 20, "dpo__n_20"),
        ("kto__n_20", 20, "dpo__n_20"),
        ("kto_half__n_20", 10, "dpo__n_20"),
    ]
    assert plan.arm("dpo__n_10").config.train.loss == {} and plan.arm("kto__n_10").config.train.loss == {"beta": 0.4}


@pytest.mark.parametrize("grid", [[], [1], [4, 4]])
def test_a_grid_that_does_not_hold_is_refused(tmp_path, grid):
    with pytest.raises(ConfigError, match="--grid"):
        plan_curve(config(tmp_path), grid)


def test_steps_are_those_whose_tokens_are_nearest():
    train = TrainConfig(batch_rows=2, epochs=1)
    rows = TrainedRows(np.full(10, 5), None, 10)
    # Five steps of two rows of five tokens.
    assert own_steps(rows, train, 0) == (10, 50, 5, 1.0, 50)
    assert nearest_steps(rows, train, 0, 50) == (10, 50, 5, 1.0, 50)
    assert nearest_steps(rows, train, 0, 123) == (10, 50, 12, 2.4, 120)
    assert nearest_steps(rows, train, 0, 126) == (10, 50, 13, 2.6, 130)
    # Never none; and the last step of a pass may be smaller.
    assert nearest_steps(rows, train, 0, 1).steps == 1
    assert nearest_steps(TrainedRows(np.full(3, 5), None, 3), train, 0, 30).tokens == 30
    assert own_steps(rows, train.model_copy(update={"max_steps": 2}), 0).tokens == 20
