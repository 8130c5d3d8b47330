"""A user's own function judges: by module, by file or by entry point, and what it does wrong is counted."""

import math
import os
import re
import sys

import pytest

from tests.other_package import write_package
from tests.unit.judges.answers import answer
from thumbline import plugins
from thumbline.pipeline.config import JudgeConfig
from thumbline.pipeline.errors import ConfigError, PipelineError
from thumbline.pipeline.judges import Judgement, Surroundings, judge_spec
from thumbline.pipeline.judges.functions import NoOptions, spec_of_function
from thumbline.pipeline.judges.registry import (
    check_judges,
    describe,
    describe_options,
    judge_options,
    outside,
    what_decides,
)

ANSWERS = [answer("p", "one line"), answer("p", "two\nlines"), answer("q", "")]


def opened(spec, name="mine"):
    return spec.open(NoOptions(), Surroundings(name))


def judged(function, answers=ANSWERS):
    judge = opened(spec_of_function(function, "mine", None))
    return judge.judge(answers, lambda _: None), judge.facts()


def test_a_truth_is_one_or_zero():
    made, facts = judged(lambda completion: "\n" not in completion)
    assert made == [Judgement(1.0), Judgement(0.0), Judgement(1.0)]
    assert facts["said"] == []


def test_it_is_given_what_it_names():
    seen = []

    def function(prompt, completion, tools="none"):
        seen.append((prompt, completion, tools))
        return len(completion)

    made, _ = judged(function, ANSWERS[:1])
    assert made == [Judgement(8.0)]
    assert seen == [([{"role": "user", "content": "p", "extra": None}], "one line", None)]


def test_what_it_changes_of_a_prompt_changes_nothing():
    prompt = [{"role": "user", "content": "p"}]

    def function(prompt):
        prompt[0]["content"] = "changed"
        return 1

    judged(function, [answer("p", "x")._replace(prompt=prompt)])
    assert prompt == [{"role": "user", "content": "p"}]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no_opinion"),
        ("good", "no_number"),
        (math.nan, "not_finite"),
        (-math.inf, "not_finite"),
        (10**400, "not_finite"),
    ],
)
def test_what_is_no_score_is_none_with_a_reason(value, reason):
    made, facts = judged(lambda completion: value)
    assert made == [Judgement(None, reason)] * 3
    assert bool(facts["said"]) == (reason != "no_opinion")
    assert set(facts["examples"]) == {reason}


def test_an_error_costs_its_answer_the_score_and_is_said_with_an_example():
    made, facts = judged(lambda completion: 1 / len(completion))
    assert made[2] == Judgement(None, "raised")
    assert made[0] == Judgement(1 / 8)
    (said,) = facts["said"]
    assert said.startswith("mine raised an error for 1 of 3 answers (first: ")
    assert "ZeroDivisionError" in said


def test_a_function_that_ends_the_program_costs_its_answer_the_score():
    def leaves(completion):
        if not completion:
            raise SystemExit(0)
        return 1

    made, _ = judged(leaves)
    assert made[2] == Judgement(None, "raised")


def test_errors_for_all_answers_stop_the_stage():
    with pytest.raises(PipelineError, match=r"mine raised for each of 3 answers \(first: .*KeyError: 'x'\)\. Mend"):
        judged(lambda completion: {}["x"])


def test_progress_is_every_answer_once():
    told = []
    opened(spec_of_function(lambda completion: 1, "m", None)).judge(ANSWERS * 50, told.append)
    assert sum(told) == 150


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda: 1, "takes nothing"),
        (lambda answer: 1, "takes answer"),
        (lambda completion, strict: 1, "takes strict"),
        (7, "is a int, not a function"),
    ],
)
def test_other_arguments_are_refused(function, said):
    with pytest.raises(ConfigError, match=said):
        spec_of_function(function, "mine", None)


def test_a_file_beside_the_run_file_judges(tmp_path, monkeypatch):
    # Whatever the environment says of byte code, which Python finds by a file's size and second of change.
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "taste.py"
    file.write_text('"""Taste."""\n\ndef short(completion):\n    """Short is good."""\n    return -len(completion)\n')
    name = f"{file}:short"
    spec = judge_spec(name)
    assert spec.description == "Short is good."
    assert opened(spec).judge(ANSWERS[:1], lambda _: None) == [Judgement(-8.0)]
    config = JudgeConfig(judge=name)
    assert config.called == "short"
    assert what_decides(config)["judge"] == "taste.py:short"
    before = outside([config])
    assert set(before) == {"short:source"}
    changed = file.stat().st_mtime_ns
    file.write_text(file.read_text().replace("-len", "+len"))
    os.utime(file, ns=(changed, changed))
    assert outside([config]) != before
    assert opened(judge_spec(name)).judge(ANSWERS[:1], lambda _: None) == [Judgement(8.0)]
    assert list(tmp_path.iterdir()) == [file]


def test_the_criterion_of_the_sample_log_judges(tmp_path):
    spec = judge_spec("data/criterion.py:is_one_paragraph")
    made = opened(spec).judge(ANSWERS, lambda _: None)
    assert [one.score for one in made] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("not_there.py:f", "there is no file not_there.py; the path is read from the run file's folder"),
        ("no_such_package_at_all.judges:f", "no module 'no_such_package_at_all' is installed"),
        ("math:cosh2", "unknown function 'cosh2'. Did you mean 'cosh'"),
        ("tumbs", "unknown judge 'tumbs'. Did you mean 'thumbs'"),
    ],
)
def test_what_is_not_there_is_named(name, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        judge_spec(name)


def test_a_file_that_does_not_load_says_why(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import a_module_that_is_not_there\n")
    with pytest.raises(ConfigError, match=r"broken.py:f' does not load \(ModuleNotFoundError: No module named 'a_mod"):
        judge_spec(f"{file}:f")


def test_a_file_that_ends_as_a_script_does_not_load(tmp_path):
    file = tmp_path / "script.py"
    file.write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(ConfigError, match=r"script.py:f' does not load \(SystemExit: 0\)"):
        judge_spec(f"{file}:f")


def test_a_thumbs_model_that_is_not_there_is_refused_before_any_work(tmp_path):
    (tmp_path / "empty").mkdir()
    config = JudgeConfig(judge="thumbs", options={"model": str(tmp_path / "empty")})
    with pytest.raises(PipelineError, match=r"holds no config\.json"):
        check_judges([config])


@pytest.fixture
def installed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, points, code=""):
        write_package(tmp_path, name, {"thumbline.judges": points}, code)
        plugins._points.cache_clear()

    yield install
    monkeypatch.undo()
    plugins._points.cache_clear()


def test_a_package_adds_a_function_or_a_whole_judge(installed):
    code = (
        "from thumbline.pipeline.judges.functions import spec_of_function\n"
        "def polite(completion):\n    'Says please.'\n    return 'please' in completion\n"
        "SPEC = spec_of_function(polite, 'polite', None)\n"
    )
    installed("their_judges", {"polite": "their_judges:polite", "whole": "their_judges:SPEC"}, code)
    for name in ("polite", "whole"):
        assert opened(judge_spec(name)).judge(ANSWERS[:1], lambda _: None) == [Judgement(0.0)]
    digests = outside([JudgeConfig(judge="polite")])
    assert digests["thumbline.judges:polite"] == "their_judges 1.0"
    assert "polite:source" in digests
    (row,) = [row for row in describe() if row["judge"] == "polite"]
    assert row["judges by"] == "Says please." and row["from"] == "their_judges 1.0"


def test_a_broken_package_takes_its_own_row_only(installed):
    installed("broken_judges", {"theirs": "broken_judges:f"}, "raise RuntimeError('no')")
    rows = {row["judge"]: row for row in describe()}
    assert "does not load (RuntimeError: no)" in rows["theirs"]["judges by"]
    assert rows["thumbs"]["from"] == "thumbline"


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="judges: votes: unknown option 'prior'. Did you mean 'prior_votes'"):
        judge_options(JudgeConfig(judge="votes", options={"prior": 1}))
    with pytest.raises(ConfigError, match="judges: votes: prior_votes: Input should be greater than or equal to 0"):
        judge_options(JudgeConfig(judge="votes", options={"prior_votes": -1}))


def test_the_options_of_a_judge_are_listed_with_what_they_mean():
    rows = {row["option"]: row for row in describe_options("chat")}
    assert rows["address"]["default"] == "needed" and rows["tries"]["default"] == "5"
    assert all(row["meaning"].endswith(".") for row in rows.values())
    assert describe_options("data/criterion.py:is_one_paragraph") == []
    with pytest.raises(ConfigError, match="unknown judge 'chatt'"):
        describe_options("chatt")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("async def f(completion):\n    return 1", "an async function"),
        ("async def f(completion):\n    yield 1", "an async generator"),
        ("def f(completion):\n    yield 1", "a generator, since it has a `yield`"),
        ("class F:\n    async def __call__(self, completion):\n        return 1\nf = F()", "an async function"),
    ],
)
def test_a_function_that_gives_no_number_when_it_is_called_is_refused(tmp_path, text, kind):
    file = tmp_path / "taste.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"taste\.py:f' is {kind}; a judge is an ordinary function"):
        judge_spec(f"{file}:f")
