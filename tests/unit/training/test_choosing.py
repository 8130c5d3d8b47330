"""Which step is kept by what its answers say: the cheapest that is surely better, or the last where none is."""

from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from tests.answer_rows import answer_tables
from thumbline.evaluators import EvaluationSettings
from thumbline.pipeline.config import EngineConfig, JudgeConfig, RunConfig
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.engines.generating import AnswerModel, Generated
from thumbline.pipeline.judges.asking import Judged
from thumbline.pipeline.training import choosing
from thumbline.pipeline.training.choosing import Candidate, choose
from thumbline.pipeline.training.keeping import Ending

PROMPTS = 40
JUDGE = JudgeConfig(judge="mine.py:polite")


def model(label):
    return AnswerModel(label, Path(label), EngineConfig(), Path(label))


def choose_among(monkeypatch, won, nats):
    """`choose` over steps whose answers win this share of the prompts at so many nats a token, of 5 tokens."""
    scores = {
        name: [[float(prompt < share * PROMPTS)] for prompt in range(PROMPTS)]
        for name, share in {"untrained": 0.0, **won}.items()
    }
    tables = answer_tables(scores, judge=JUDGE.called)
    prices = {"untrained": 2.0, **nats}
    each = [-5.0 * prices[name] for name in tables.generations["model"]]
    frame = tables.generations.with_columns(reference_logps=pl.Series(each))
    monkeypatch.setattr(choosing, "generate", lambda *_: Generated(frame, {}, None, ["one is cut"]))
    monkeypatch.setattr(choosing, "with_prompts", lambda answers, prompts: answers)
    told = Judged(tables.judgements, tables.judged_pairs, {"judges": {}, "said": ["two raised"]})
    monkeypatch.setattr(choosing, "ask", lambda *_: told)
    candidates = [Candidate(int(name.split()[1]), model(name)) for name in won]
    settings = EvaluationSettings(bootstrap_draws=200)
    how, around = SimpleNamespace(), lambda _: None
    return choose(candidates, model("untrained"), tables.prompts, how, JUDGE, around, settings, SilentReporter())


def test_of_the_steps_that_are_surely_better_the_one_that_pays_least_is_kept(monkeypatch):
    won = {"step 10": 0.02, "step 20": 0.6, "step 100": 0.95}
    chosen = choose_among(monkeypatch, won, {"step 10": 2.0, "step 20": 2.1, "step 100": 3.0})
    assert chosen.step == 20
    assert [row["step"] for row in chosen.points] == [10, 20, 100]
    assert [round(row["paid"], 3) for row in chosen.points] == [0.0, 0.05, 0.5]
    assert chosen.said[:2] == ["one is cut", "two raised"]
    assert "step 20 is the cheapest that polite finds surely better" in chosen.said[2]
    kept = chosen.ending(Ending(100, 100, "all 100 steps were taken", "the last step, 100"))
    assert (kept.step, kept.kept_step) == (100, 20)
    assert chosen.notes()["prompts"] == PROMPTS


def test_where_none_is_surely_better_the_last_step_stays_and_that_is_said(monkeypatch):
    chosen = choose_among(monkeypatch, {"step 10": 0.02}, {"step 10": 1.5})
    assert chosen.step is None
    assert "finds none of its one validation point surely better" in chosen.said[-1]
    ending = Ending(10, 10, "all 10 steps were taken", "the last step, 10")
    assert chosen.ending(ending) == ending


def run_file(**sections):
    return {"name": "r", "model": "m", "events": {"inputs": ["log"]}, "train": {"choose": "frontier"}, **sections}


def test_choosing_by_answers_takes_answers_and_a_judge():
    asked = {"generations": {"samples": 2}, "judges": [JUDGE.model_dump()]}
    assert RunConfig(**run_file(**asked)).train.choose == "frontier"
    for missing in asked:
        with pytest.raises(ValueError, match=r"set generations\.samples, and judges"):
            RunConfig(**run_file(**{name: value for name, value in asked.items() if name != missing}))
    with pytest.raises(ValueError, match="each name a step to keep"):
        RunConfig(**run_file(**asked) | {"train": {"choose": "frontier", "keep": "best"}})
