"""The stage of judgements: both tables from all judges, counts that add up, and what makes it run again."""

import polars as pl
import pytest

from tests.unit.judges.answers import answers_table
from thumbline.pipeline.config import build_config, load_config
from thumbline.pipeline.context import SilentReporter, StageContext
from thumbline.pipeline.stages import judgements
from thumbline.pipeline.storage.tables import read_table, write_table
from thumbline.pipeline.tables import polars_schema
from thumbline.pipeline.tables.columns import FINISH, SPLIT

CRITERION = "data/criterion.py:is_one_paragraph"
SAID = {"p": {"untrained": ["a\nb", "c"], "trained": ["d", "e"]}, "q": {"untrained": ["f\ng"], "trained": [""]}}


def config(tmp_path, judges, **sections):
    document = {"name": "r", "runs": str(tmp_path), "model": "demo", "events": {"inputs": ["x"]}}
    return build_config(document | {"judges": judges} | sections, origin="test")


def run(tmp_path, judges, table):
    folder = tmp_path / "judgements"
    folder.mkdir(parents=True)
    prompts = table.unique("prompt_id").with_columns(
        split=pl.lit("test", dtype=SPLIT), script=pl.lit("Latin"), turns=pl.lit(1, dtype=pl.Int64)
    )
    rows = table.with_columns(
        token_count=pl.lit(1, dtype=pl.Int64),
        finish=pl.lit("stop", dtype=FINISH),
        reference_logps=pl.lit(-1.0),
        policy_logps=pl.lit(-1.0),
    )
    frames = {"generation_prompts": prompts, "generations": rows}
    tables = {name: tmp_path / f"{name}.parquet" for name in judgements.INPUTS}
    for name, frame in frames.items():
        write_table(tables[name], name, frame.select(list(polars_schema(name, optional=True))))
    write_table(tables["responses"], "responses", pl.DataFrame(schema=polars_schema("responses")))
    result = judgements.run(StageContext(config(tmp_path, judges), folder, tables, SilentReporter(), tmp_path / "r"))
    result.counts.check("judgements")
    return result, {name: read_table(folder / f"{name}.parquet", name) for name in judgements.OUTPUTS}


def test_the_criterion_and_the_votes_judge_all_answers(tmp_path):
    table = answers_table(SAID)
    result, tables = run(tmp_path, [{"judge": CRITERION}, {"judge": "votes", "name": "log"}], table)
    assert result.counts.rows_in == 6
    assert (result.counts.given, result.counts.rows_out, result.counts.rejected) == (12, 6, 6)
    assert tables["judged_pairs"].is_empty()
    scores = tables["judgements"].filter(pl.col("judge") == "is_one_paragraph").join(table, on="generation_id")
    assert dict(scores.select("completion", "score").iter_rows()) == {
        "a\nb": 0.0, "c": 1.0, "d": 1.0, "e": 1.0, "f\ng": 0.0, "": 0.0,
    }  # fmt: skip
    log = tables["judgements"].filter(pl.col("judge") == "log")
    assert log["reason"].to_list() == ["not_seen_before"] * 6
    notes = result.notes["judges"]
    assert list(notes) == ["is_one_paragraph", "log"]
    assert notes["is_one_paragraph"]["judged"] == 6
    assert notes["log"]["unjudged"] == {"not_seen_before": 6}


def test_without_answers_nobody_is_asked(tmp_path):
    result, tables = run(tmp_path, [{"judge": "votes"}], answers_table(SAID).clear())
    assert all(table.is_empty() for table in tables.values())
    assert result.notes["judges"] == {}
    (said,) = result.notes["said"]
    assert said.startswith("No answers were sampled, so no judge was asked")


def test_a_run_file_names_a_function_from_its_own_folder(tmp_path):
    (tmp_path / "taste.py").write_text("def short(completion):\n    return -len(completion)\n")
    path = tmp_path / "r.yaml"
    path.write_text("model: demo\nevents: {inputs: [x]}\njudges: [{judge: taste.py:short}]\n")
    loaded = load_config(path)
    assert loaded.judges[0].judge == f"{tmp_path}/taste.py:short"
    before = judgements.settings(loaded), judgements.external(loaded)
    assert before[0]["judges"] == [{"judge": "taste.py:short", "name": "short", "options": {}}]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for file in (path, tmp_path / "taste.py"):
        (elsewhere / file.name).write_text(file.read_text())
    moved = load_config(elsewhere / "r.yaml")
    assert (judgements.settings(moved), judgements.external(moved)) == before
    (elsewhere / "taste.py").write_text("def short(completion):\n    return 0\n")
    assert judgements.external(load_config(elsewhere / "r.yaml")) != before[1]


@pytest.mark.parametrize(
    ("judges", "changed"),
    [
        ([{"judge": "votes", "options": {"prior_votes": 3.0}}], True),
        ([{"judge": "votes", "name": "log"}], True),
        ([{"judge": "votes"}, {"judge": CRITERION}], True),
        ([{"judge": "votes", "options": {"prior_votes": 2.0}}], False),
    ],
)
def test_what_decides_judgements_is_in_the_stages_settings(tmp_path, judges, changed):
    plain = judgements.settings(config(tmp_path, [{"judge": "votes"}]))
    assert (judgements.settings(config(tmp_path, judges)) != plain) == changed


def test_how_texts_become_tokens_matters_where_the_thumbs_model_judges(tmp_path):
    def settings(judges, **sequences):
        return judgements.settings(config(tmp_path, judges, sequences=sequences, thumbs={"method": "reward_bce"}))

    for judges, same in (([{"judge": "votes"}], True), ([{"judge": "thumbs"}], False)):
        assert (settings(judges) == settings(judges, system="first_user")) == same
