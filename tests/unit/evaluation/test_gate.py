"""Conditions that a CI job fails by, on rows whose numbers are known."""

import dataclasses
import os
from xml.etree import ElementTree

import polars as pl
import pytest

from tests.unit.evaluation.rows import margins, outcome, run_like, scored, subject
from thumbline.pipeline.config import ReferenceConfig, SequencesConfig
from thumbline.pipeline.errors import ConfigError, GateError, InputError
from thumbline.pipeline.evaluation.gate import Condition, Floor, check_floors, check_no_worse, parse_floor, refuse
from thumbline.pipeline.evaluation.junit import junit_xml
from thumbline.pipeline.evaluation.outcome import write_outcome
from thumbline.pipeline.evaluation.request import Gate, Request, check_request
from thumbline.pipeline.evaluation.rows import ReadOptions
from thumbline.pipeline.evaluation.scoring import ScoringOptions
from thumbline.pipeline.evaluation.subject import Subject


@pytest.mark.parametrize(
    ("text", "floor"),
    [
        ("accuracy=0.6", Floor("accuracy", 0.6, False)),
        ("accuracy:low=.5", Floor("accuracy", 0.5, True)),
        ("reward_margin.mean=-1e-3", Floor("reward_margin.mean", -0.001, False)),
    ],
)
def test_a_floor_is_a_metric_and_a_value(text, floor):
    assert parse_floor(text) == floor


@pytest.mark.parametrize(
    "text", ["accuracy", "accuracy=", "=0.5", "accuracy=high", "accuracy:high=0.5", "accuracy=nan"]
)
def test_a_floor_of_another_form_is_refused(text):
    with pytest.raises(ConfigError, match="write it as METRIC=VALUE"):
        parse_floor(text)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("accuracy=0.75", True),
        ("accuracy=0.7501", False),
        ("pair_accuracy.accuracy=0.75", True),
        ("accuracy:low=0.75", False),
        ("accuracy:low=0.5", True),
        ("reward_margin.mean=0.05", True),
        ("reward_margin.mean=0.0501", False),
    ],
)
def test_a_floor_holds_for_the_value_or_the_lower_end(text, holds):
    # 60 of 80 pairs are right; margins are +-1 nat at beta 0.1: (60 - 20) / 80 * 0.1 = 0.05.
    (condition,) = check_floors(outcome(run_like(60, 20)), [parse_floor(text)])
    assert condition.holds is holds
    assert condition.name.startswith("trained: ")


def test_every_model_but_the_baseline_has_to_meet_a_floor():
    models = subject(
        scored("untrained", [0.0] * 20), scored("a", margins(15, 5)), scored("b", margins(8, 12)), name="two"
    )
    conditions = check_floors(outcome(models), [parse_floor("accuracy=0.6")])
    assert [(condition.name.split(":")[0], condition.holds) for condition in conditions] == [("a", True), ("b", False)]
    with pytest.raises(GateError, match=r"1 of 2 conditions do not hold:\n  b: accuracy at least 0.6: 0.4"):
        refuse(conditions)


def test_a_models_name_cannot_look_like_a_condition_of_its_own():
    conditions = check_floors(
        outcome(subject(scored("untrained", [0.0] * 20), scored("b\n  a: fine", margins(8, 12)), name="two")),
        [parse_floor("accuracy=0.6")],
    )
    with pytest.raises(GateError, match=r"do not hold:\n  b   a: fine: accuracy at least 0.6: 0.4") as caught:
        refuse(conditions)
    assert str(caught.value).count("\n") == 1


def test_a_metric_without_a_value_does_not_hold_and_says_why():
    (condition,) = check_floors(outcome(run_like(20, 0)), [parse_floor("temperature=0.1")])
    assert not condition.holds and condition.detail.startswith("none: ")


def test_an_unknown_metric_names_those_there_are():
    with pytest.raises(ConfigError, match="no metric 'acuracy' .* pair_accuracy.accuracy"):
        check_floors(outcome(run_like(3, 1)), [parse_floor("acuracy=0.5")])


@pytest.fixture
def other(tmp_path):
    def make(frame):
        path = tmp_path / "other.parquet"
        frame.write_parquet(path)
        return str(path)

    return make


@pytest.mark.parametrize(
    ("right", "theirs", "allowed_loss", "holds"),
    [
        (60, 60, None, True),
        (50, 60, None, False),
        (58, 60, None, True),
        (70, 60, None, True),
        (58, 60, 0.02, False),
        (58, 60, 0.10, True),
        (50, 60, 0.10, False),
        (50, 60, 0.50, True),
    ],
)
def test_no_worse_is_decided_by_the_interval_of_the_paired_difference(other, right, theirs, allowed_loss, holds):
    # The model's right answers are the first ones, so every change against the other is in one direction: 10 pairs of
    # 80 lost is beyond doubt, 2 of 80 is not.
    place = other(scored("best", margins(theirs, 80 - theirs)))
    (condition,) = check_no_worse(outcome(run_like(right, 80 - right)), place, allowed_loss)
    assert condition.holds is holds, condition
    assert f"{(right - theirs) / 80:+.4g}" in condition.detail


def test_no_worse_takes_each_side_by_its_own_reward(tmp_path):
    # Chosen lost 3 nats against its reference: nothing is right by the log-ratio, all is by the model's own log-prob.
    lost = subject(scored("m", [1.0] * 20, reference=4.0), name="lost", baseline=None)
    write_outcome(outcome(dataclasses.replace(lost, reward="mean_logps")), tmp_path / "own", "")
    (condition,) = check_no_worse(outcome(lost, reward="implicit"), str(tmp_path / "own"), None)
    assert not condition.holds and "accuracy moved by -1" in condition.detail
    (condition,) = check_no_worse(outcome(lost, reward="mean_logps"), str(tmp_path / "own"), None)
    assert condition.holds and "+0" in condition.detail


@pytest.mark.parametrize(("theirs", "holds"), [(12, True), (20, False)])
def test_without_pairs_the_auc_decides(tmp_path, theirs, holds):
    def unpaired(model, right):
        """20 groups of a desirable and an undesirable row; in the first `right` of them the desirable one is ahead."""
        rows = [(place, label) for place in range(20) for label in (True, False)]
        return pl.DataFrame(
            {
                "response_id": [f"r{place}{label}" for place, label in rows],
                "group_id": [f"g{place}" for place, _ in rows],
                "model": model,
                "label": [label for _, label in rows],
                "policy_logps": [-9.0 if label == (place < right) else -11.0 for place, label in rows],
                "reference_logps": -10.0,
                "token_count": 5,
            }
        )

    unpaired("best", theirs).write_parquet(tmp_path / "best.parquet")
    ours = Subject(name="run", pairs=None, unpaired=unpaired("trained", 12), baseline=None)
    (condition,) = check_no_worse(outcome(ours), str(tmp_path / "best.parquet"), None)
    assert condition.holds is holds and condition.detail.startswith("auc moved by "), condition


def test_no_worse_needs_rows_of_one_kind_on_both_sides(tmp_path):
    unpaired = pl.DataFrame(
        {
            "response_id": ["a", "b"],
            "group_id": ["a", "b"],
            "model": ["m", "m"],
            "label": [True, False],
            "policy_logps": [-1.0, -2.0],
            "reference_logps": [-1.0, -2.0],
            "token_count": [2, 2],
        }
    )
    unpaired.write_parquet(tmp_path / "u.parquet")
    with pytest.raises(InputError, match="it takes scored rows of the same kind on both sides"):
        check_no_worse(outcome(run_like(15, 5)), str(tmp_path / "u.parquet"), None)


def test_no_worse_refuses_other_rows_with_counts(other):
    place = other(scored("best", margins(7, 3), prefix="q"))
    with pytest.raises(InputError, match="0 in both, 20 only in run, 10 only in other"):
        check_no_worse(outcome(run_like(15, 5)), place, None)


def test_no_worse_needs_one_model_on_the_other_side(other):
    frames = [scored(name, margins(15, 5)) for name in ("a", "b")]
    with pytest.raises(InputError, match=r"it has 2 models \(a, b\)"):
        check_no_worse(outcome(run_like(15, 5)), other(pl.concat(frames)), None)


def test_junit_counts_failures_and_escapes_names():
    conditions = [Condition("a <b> & \x07: ok", True, "0.7"), Condition('c "d"', False, "0.4 < 0.6")]
    root = ElementTree.fromstring(junit_xml("run <1>", conditions))
    (suite,) = root
    assert root.tag == "testsuites" and suite.attrib["name"] == "thumbline: run <1>"
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["errors"]) == ("2", "1", "0")
    first, second = suite
    assert first.attrib["name"] == "a <b> & ?: ok" and first.find("failure") is None
    assert second.find("failure").attrib["message"] == "0.4 < 0.6"


def asked(judges):
    """An evaluation with win rates by judges beside its rewards."""
    found = outcome(run_like(60, 20))
    rows = [
        (
            "win_rate",
            1,
            "win_rate",
            "trained",
            "untrained",
            None,
            value,
            value - 0.1,
            value + 0.1,
            80,
            40,
            "share",
            None,
        )
        for value in judges.values()
    ]
    frame = pl.DataFrame(rows, schema=found.metrics.columns[:13], orient="row")
    frame = frame.with_columns(judge=pl.Series(list(judges)))
    return found._replace(metrics=pl.concat([found.metrics, frame], how="diagonal_relaxed"))


def test_a_judges_number_is_named_by_the_judge_and_holds_for_each_where_none_is_named():
    both = asked({"package.rules:short": 0.7, "thumbs": 0.55})
    (low,) = check_floors(both, [parse_floor("win_rate@package.rules:short:low=0.65")])
    (plain,) = check_floors(both, [parse_floor("win_rate@thumbs=0.5")])
    assert (low.holds, low.name) == (False, "trained: win_rate@package.rules:short lower end at least 0.65")
    assert plain.holds
    (only,) = check_floors(asked({"thumbs": 0.55}), [parse_floor("win_rate=0.5")])
    assert only.holds
    each = check_floors(both, [parse_floor("win_rate=0.6")])
    assert [(one.holds, one.name.rpartition(", by ")[2]) for one in each] == [
        (True, "package.rules:short"),
        (False, "thumbs"),
    ]
    with pytest.raises(ConfigError, match="thumb"):
        check_floors(both, [parse_floor("win_rate@thumb=0.5")])


def test_a_file_of_conditions_that_cannot_be_is_refused_before_any_work(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    scoring = ScoringOptions(ReferenceConfig(), SequencesConfig(), tmp_path)
    gate = Gate(("accuracy=0.5",), junit=tmp_path / "pipe")
    request = Request("none.parquet", None, (), None, ReadOptions(), scoring, gate)
    with pytest.raises(InputError, match="pipe: a device, a pipe or a socket, not a file, and is not replaced"):
        check_request(request)
