"""All judges over all answers: both tables, whatever the order of the rows; counts and sentences."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tests.unit.judges.answers import answers_table, id_of_prompt
from thumbline.pipeline.config import JudgeConfig
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.judges import JUDGES, Judgement, JudgeSpec, Preference, Surroundings, asking
from thumbline.pipeline.judges.asking import ask
from thumbline.pipeline.judges.functions import NoOptions
from thumbline.pipeline.tables.checks import validate

SAID = {
    "p": {"untrained": ["aa", "b"], "trained": ["a", "bbb"]},
    "q": {"untrained": ["c", ""], "trained": ["c", "dd"]},
}


class Longer:
    """Prefers the longer answer; of equal ones it likes the first shown, and of an empty one it says nothing."""

    def compare(self, pairs, advance):
        advance(len(pairs))
        return [self._one(pair.first.completion, pair.second.completion) for pair in pairs]

    def _one(self, first, second):
        if not first or not second:
            return Preference(None, "refused")
        return Preference(1.0 if len(first) >= len(second) else 0.0)

    def facts(self):
        return {"asked": 8, "said": ["longer: is here."]}

    def close(self):
        self.closed = True


@pytest.fixture
def longer(monkeypatch):
    judge = Longer()
    monkeypatch.setitem(JUDGES, "longer", JudgeSpec("Length.", True, NoOptions, lambda *_: judge))
    return judge


def asked(table, *names):
    judges = [JudgeConfig(judge=name) for name in names]
    return ask(table, judges, lambda judge: Surroundings(judge.called), SilentReporter())


def test_each_pair_is_judged_in_both_orders(longer):
    made = asked(answers_table(SAID), "longer")
    assert made.judgements.is_empty()
    validate("judged_pairs", made.judged_pairs)
    rows = {
        (row["prompt_id"], row["generation_id"], row["model_first"]): (row["preference"], row["reason"])
        for row in made.judged_pairs.iter_rows(named=True)
    }
    assert len(rows) == 8
    wanted = {("p", 0): (0.0, 0.0), ("p", 1): (1.0, 1.0), ("q", 0): (1.0, 0.0), ("q", 1): (None, None)}
    trained = answers_table(SAID).filter(pl.col("model") == "trained")
    for prompt in ("p", "q"):
        of_prompt = trained.filter(pl.col("prompt_id") == id_of_prompt(prompt))
        for identifier, sample in of_prompt.select("generation_id", "sample").iter_rows():
            got = tuple(rows[id_of_prompt(prompt), identifier, first][0] for first in (True, False))
            assert got == wanted[prompt, sample]
    assert longer.closed
    notes = made.notes["judges"]["longer"]
    assert (notes["judged"], notes["unjudged"], notes["asked"]) == (6, {"refused": 2}, 8)
    assert made.notes["said"] == ["longer: no judgement of 2 of 8 comparisons: refused 2.", "longer: is here."]


def test_answers_without_a_counterpart_are_counted(longer):
    made = asked(answers_table({"p": {"untrained": ["a"], "trained": ["a", "b", "c"]}}), "longer")
    assert made.judged_pairs.height == 2
    assert "longer: 2 answers have none of untrained beside them to be compared with." in made.notes["said"]


def test_tables_are_the_same_in_any_order_and_cut(longer, monkeypatch, tmp_path):
    (tmp_path / "own.py").write_text("def size(completion):\n    return len(completion)\n")
    names = ("longer", f"{tmp_path}/own.py:size")
    table = answers_table(SAID)
    whole = asked(table, *names)
    monkeypatch.setattr(asking, "_PART_ROWS", 2)
    cut = asked(table.sample(fraction=1.0, shuffle=True, seed=3), *names)
    assert_frame_equal(whole.judgements, cut.judgements)
    assert_frame_equal(whole.judged_pairs, cut.judged_pairs)
    validate("judgements", whole.judgements)
    sizes = table.select("generation_id", size=pl.col("completion").str.len_chars().cast(pl.Float64))
    joined = whole.judgements.join(sizes, on="generation_id")
    assert joined.height == 8 and (joined["score"] == joined["size"]).all()


class Wrong(Longer):
    """Gives what no judge may give."""

    def __init__(self, made):
        self.made = made

    def judge(self, answers, advance):
        return self.made


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ([], "wrong said 0 things of 8"),
        ([Judgement(float("nan"))] * 8, "wrong gave nan with the reason None"),
        ([Judgement(None)] * 8, "wrong gave None with the reason None"),
        ([Judgement(1.0, "both")] * 8, "wrong gave 1.0 with the reason both"),
    ],
)
def test_a_judge_that_breaks_its_contract_stops_the_stage_and_is_closed(monkeypatch, made, said):
    judge = Wrong(made)
    monkeypatch.setitem(JUDGES, "wrong", JudgeSpec("Wrong.", False, NoOptions, lambda *_: judge))
    with pytest.raises(PipelineError, match=said):
        asked(answers_table(SAID), "wrong")
    assert judge.closed
