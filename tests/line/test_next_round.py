"""A second and a third round on a tiny model: by a judge of the user's, by the thumbs model, and by people's votes."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

import thumbline
from tests.line.conftest import write_config, write_log
from thumbline.pipeline import line, rounds
from thumbline.pipeline.cli.main import app
from thumbline.pipeline.config import ThumbsConfig, load_config
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.rounds.plan import judge_of

JUDGE = "def letters(prompt, completion):\n    return sum(map(str.isalpha, completion))\n"
# A run is made first, as in the other tests of whole runs.
pytestmark = pytest.mark.slow
WANTED = rounds.Wanted(samples=3, max_new_tokens=6, keep_cut=True, margin=0.5, judge="letters", prompts=6)


@pytest.fixture(scope="module")
def first(tmp_path_factory, tiny_model):
    """A run that was trained, and evaluated."""
    folder = tmp_path_factory.mktemp("rounds")
    (folder / "mine.py").write_text(JUDGE)
    sections = {
        "generations": {"samples": 1, "max_new_tokens": 4, "engine": "hf", "prompts": 2},
        "judges": [{"judge": f"{folder}/mine.py:letters"}],
        "train": {"max_steps": 1, "batch_rows": 4, "parity_rows": 2, "validation_rows": 2},
        "splits": {"validation": 0.2, "test": 0.25},
        "thumbs": {"method": "reward_bce", "epochs": 0.2, "dtype": "float32", "device": "cpu", "learning_rate": 1e-2},
    }
    log = write_log(folder / "thumbs.jsonl", prompts=20)
    config = load_config(write_config(folder, log, tiny_model, "first", **sections))
    list(line.run(config, line.select(None, "metrics")))
    return config


@pytest.fixture(scope="module")
def second(first):
    plan = rounds.plan_round(first.run_dir, WANTED)
    return plan, list(rounds.run_round(plan, until="metrics"))


def test_the_best_and_the_worst_answer_of_each_prompt_are_trained_on(first, second):
    plan, (made, *finished) = second
    assert (plan.number, plan.config.name, made.what) == (2, "first-round-2", "pairs")
    assert 0 < made.rows <= 6 and made.answers == 18
    assert [done.stage.name for done in finished][-1] == "metrics"
    splits = {name: pl.read_parquet(run / "splits" / "splits.parquet") for name, run in places(first, plan)}
    # What was held out stays so, and none of it was asked.
    held_out = pl.col("split") != "train"
    assert splits["second"].filter(held_out).equals(splits["first"].filter(held_out))
    responses = pl.read_parquet(plan.config.run_dir / "responses" / "responses.parquet")
    new = responses.filter(model="first-round-2")
    trained = splits["first"].filter(~held_out)["prompt_id"].to_list()
    assert set(new["prompt_id"]) <= set(trained)
    pairs = pl.read_parquet(plan.config.run_dir / "pairs" / "pairs.parquet").filter(pair_source="preference")
    assert pairs.height == made.rows
    letters = {
        side: [sum(map(str.isalpha, message[0]["content"])) for message in pairs[side].to_list()]
        for side in ("chosen", "rejected")
    }
    assert all(chosen > rejected for chosen, rejected in zip(letters["chosen"], letters["rejected"], strict=True))
    # The new rows alone are trained on, from the trained model.
    (train,) = [done.manifest for done in finished if done.stage.name == "train"]
    assert train.counts.rows_in == made.rows
    assert plan.config.model == str((first.run_dir / "train" / "model").absolute())


def places(first, plan):
    return (("first", first.run_dir), ("second", plan.config.run_dir))


def test_the_same_call_finds_what_is_done(first, second):
    plan = rounds.plan_round(first.run_dir, WANTED)
    made, *finished = rounds.run_round(plan, until="metrics")
    assert made == second[1][0]._replace(found=True)
    assert {done.action for done in finished} == {"skipped"}


def test_the_same_from_python(first, second):
    found = thumbline.next_round(
        str(first.run_dir),
        samples=3,
        max_new_tokens=6,
        keep_cut=True,
        margin=0.5,
        judge="letters",
        prompts=6,
        until="metrics",
    )
    assert found.run.folder == second[0].config.run_dir and found.verdict is None
    assert (found.rows, found.answers, found.prompts) == (second[1][0].rows, 18, 6)
    assert f"gave {found.rows} rows" in found._repr_html_()
    with pytest.raises(ConfigError, match="give one of them"):
        thumbline.next_round(first.run_dir, votes="a", votes_from="b")
    with pytest.raises(ConfigError, match="ppo writes and judges its own answers"):
        thumbline.next_round(first.run_dir, **{"train.method": "ppo"})


def test_a_third_round_reads_the_rows_of_all(first, second):
    plan = rounds.plan_round(second[0].config.run_dir, WANTED._replace(keep_log=True))
    assert (plan.number, plan.config.name) == (3, "first-round-3")
    assert [one.split("/")[-3] for one in plan.config.events.added] == ["first-round-2", "first-round-3"]
    list(rounds.run_round(plan, until="pairs"))
    models = set(pl.read_parquet(plan.config.run_dir / "responses" / "responses.parquet")["model"])
    assert models == {"tiny", "first-round-2", "first-round-3"}
    assert rounds.rounds_before(plan.config.run_dir) == [
        first.run_dir.resolve(),
        second[0].config.run_dir.resolve(),
        plan.config.run_dir,
    ]


def test_the_rounds_stand_side_by_side_on_one_page(first, second):
    summary = rounds.write_rounds(rounds.rounds_before(second[0].config.run_dir), "thumbline next-round first")
    assert {row.model for row in summary.numbers} >= {"first", "first-round-2"}
    page = (second[0].config.run_dir / rounds.PAGE_FOLDER / "report.html").read_text()
    assert "thumbline rounds" in page


def test_people_judge_what_was_handed_out(first, tmp_path):
    wanted = WANTED._replace(by_votes=True, judge=None, margin=0.1, settings=("name=by-votes",))
    plan = rounds.plan_round(first.run_dir, wanted)
    out = tmp_path / "out.jsonl"
    with pytest.raises(ConfigError, match="write them first with --votes FILE"):
        list(rounds.run_round(plan, votes_from=out if out.write_text("{}\n") else None))
    (handed,) = rounds.run_round(plan, votes=out)
    rows = [json.loads(text) for text in out.read_text().splitlines()]
    assert handed.answers == len(rows) > 6 and {row["vote"] for row in rows} == {None}
    # A tool gives them back in its own way: other columns, without the model, one answer edited, one left out.
    returned = tmp_path / "back.csv"
    votes = ["up" if number % 2 else "down" for number in range(len(rows))]
    pl.DataFrame(
        {
            "question": [row["prompt"][-1]["content"] for row in rows],
            "answer": [rows[0]["completion"] + " edited", *(row["completion"] for row in rows[1:])],
            "rating": votes,
        }
    )[:-1].write_csv(returned)
    made, *_ = rounds.run_round(plan, votes_from=returned, until="pairs")
    assert made.what == "pairs" and made.rows > 0
    assert made.left_out["votes on other answers"] == 1 and made.left_out["answers without a vote"] == 2
    pairs = pl.read_parquet(plan.config.run_dir / "pairs" / "pairs.parquet").filter(pair_source="preference")
    up = {row["completion"] for row, vote in zip(rows, votes, strict=True) if vote == "up"}
    down = {row["completion"] for row, vote in zip(rows, votes, strict=True) if vote == "down"}
    assert pairs.height == made.rows
    assert {answer[0]["content"] for answer in pairs["chosen"].to_list()} <= up
    assert {answer[0]["content"] for answer in pairs["rejected"].to_list()} <= down
    again, *_ = rounds.run_round(plan, votes_from=returned, until="events")
    assert again.found


def test_the_thumbs_model_rates_answers_and_is_not_trained_on_them(first):
    wanted = WANTED._replace(judge=None, margin=0.0, settings=("train.method=kto", "name=rated"))
    plan = rounds.plan_round(first.run_dir, wanted)
    assert plan.config.thumbs.method == "none"
    assert plan.config.thumbs.model == str((first.run_dir / "thumbs" / "thumbs_model").absolute())
    made, *_ = rounds.run_round(plan, until="unpaired")
    assert made.what == "rated answers" and made.rows == made.answers - sum(made.left_out.values())
    rows = pl.read_parquet(plan.config.run_dir / "unpaired" / "unpaired.parquet")
    responses = pl.read_parquet(plan.config.run_dir / "responses" / "responses.parquet").filter(model="rated")
    assert rows.join(responses, on="response_id", how="semi").height == made.rows
    pairs = rounds.plan_round(first.run_dir, wanted._replace(settings=("name=paired",)))
    made, *_ = rounds.run_round(pairs, until="events")
    assert made.what == "pairs" and made.rows > 0


def test_without_a_thumbs_model_it_says_who_else_can_judge(first):
    with pytest.raises(ConfigError, match="no thumbs model that could judge"):
        judge_of(first.model_copy(update={"thumbs": ThumbsConfig()}), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"judge": "leters"}, "letters"),
        ({"samples": 1}, "at least 2 answers"),
        ({"margin": -1.0}, "at least 0"),
        ({"prompts": 0}, "1 or more"),
        ({"temperature": 0.0}, "samples: 1"),
        ({"settings": ("train.method=kto",)}, "only the thumbs model says which are liked"),
        ({"settings": ("pairs.comparisons=false",)}, "pairs.comparisons=true"),
        ({"settings": ("train.method=ppo",)}, "ppo writes and judges its own answers"),
        ({"settings": ("train.ld_alpha=0.5",)}, "set reference.token_logps to true"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_sampled(first, change, message):
    with pytest.raises(ConfigError, match=message):
        rounds.plan_round(first.run_dir, WANTED._replace(**change))


def test_a_folder_without_a_model_is_refused(tmp_path, small_log, tiny_model):
    config = load_config(write_config(tmp_path, small_log, tiny_model))
    list(line.run(config, line.select(None, "events")))
    with pytest.raises(ConfigError, match="no model was trained here"):
        rounds.plan_round(config.run_dir)


def test_answers_that_are_all_cut_give_no_pair_and_say_why(first):
    plan = rounds.plan_round(first.run_dir, WANTED._replace(keep_cut=False, settings=("name=cut",)))
    with pytest.raises(InputError, match=r"gave no pairs \(cut .*--keep-cut"):
        list(rounds.run_round(plan))


def told(*arguments):
    """What the command prints, on both streams, and how it ends."""
    done = CliRunner().invoke(app, ["next-round", *map(str, arguments)], env={"COLUMNS": "1000"})
    return done.exit_code, done.output + str(done.exception or "")


def test_the_command_says_what_it_would_do_and_hands_answers_out(first, tmp_path):
    asked = ("--max-new-tokens", 6, "--keep-cut", "--prompts", 6, "--samples", 3, "--set", "name=told")
    code, output = told(first.run_dir, "--judge", "letters", "--dry-run", *asked)
    assert code == 0 and "Round 2 of" in output
    assert "3 answers to at most 6 prompts of the train split at temperature 1, judged by letters; then dpo" in output
    out = tmp_path / "out.jsonl"
    code, output = told(first.run_dir, "--votes", out, *asked)
    assert code == 0 and f"next-round {first.run_dir} --votes-from {out}" in output and out.is_file()
    code, output = told(first.run_dir, "--votes", out, "--votes-from", out)
    assert code != 0 and "give one of them" in output
    code, output = told(first.run_dir, "--judge", "letters", "--margin", 0.5, "--until", "events", *asked)
    assert code == 0 and "18 answers to 6 prompts gave" in output
