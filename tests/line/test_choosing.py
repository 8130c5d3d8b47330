"""A whole run whose steps are chosen between by their answers."""

import pytest

from tests.line.conftest import write_config
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.storage.manifests import read_manifest
from thumbline.pipeline.storage.tables import read_table

JUDGES = """
def none_of_it(prompt, completion):
    return 1


def short(prompt, completion):
    return -len(completion)
"""


class Listening(SilentReporter):
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


def train(folder, log, model, name, **sections):
    config = load_config(write_config(folder, log, model, name, **sections))
    reporter = Listening()
    manifests = {
        done.stage.name: done.manifest for done in line.run(config, line.select(None, "train"), reporter=reporter)
    }
    return config, manifests["train"], reporter.said


@pytest.fixture(scope="module")
def asked(tmp_path_factory, small_log, tiny_model):
    folder = tmp_path_factory.mktemp("choosing")
    (folder / "mine.py").write_text(JUDGES)
    sections = {
        "generations": {"samples": 2, "max_new_tokens": 6, "engine": "hf"},
        "judges": [{"judge": f"{folder}/mine.py:none_of_it"}],
        "splits": {"validation": 0.2},
        "train": {"max_steps": 4},
    }
    plain = train(folder, small_log, tiny_model, "plain", **sections)
    sections["train"] = sections["train"] | {"choose": "frontier"}
    return folder, sections, plain, train(folder, small_log, tiny_model, "chosen", **sections)


def test_where_all_answers_tie_the_model_is_that_of_a_run_that_does_not_choose(asked):
    _, _, (_, plain, _), (config, chosen, said) = asked
    assert chosen.files["model"] == plain.files["model"]
    points = chosen.notes["frontier"]["points"]
    assert [point["step"] for point in points] == [2, 4]
    assert {point["won"] for point in points} == {0.5}
    assert chosen.notes["frontier"]["step"] is None
    assert any("finds none of its 2 validation points surely better" in sentence for sentence in said)
    left = {path.name for path in (config.run_dir / "train").iterdir()}
    assert left == {"manifest.json", "model", "parity.parquet", "training_log.parquet"}


def test_steps_answer_prompts_of_the_validation_split_alone(asked):
    _, _, _, (config, chosen, _) = asked
    splits = read_table(config.run_dir / "splits" / "splits.parquet", "splits")
    assert chosen.notes["frontier"]["prompts"] == splits.filter(splits["split"] == "validation").height


def test_the_report_draws_what_each_step_wins_over_what_it_pays(asked):
    _, _, _, (config, *_) = asked
    ran = [done.stage.name for done in line.run(config) if done.action == "ran"]
    assert ran[:1] == ["policy"]
    page = (config.run_dir / "report" / "report.html").read_text()
    assert "What the answers of each validation point" in page
    assert "finds none of its 2 validation points surely better" in page


def test_another_judge_trains_once_more_and_a_run_that_does_not_choose_is_as_it_was(asked):
    folder, sections, (plain, *_), _ = asked
    other = {**sections, "judges": [{"judge": f"{folder}/mine.py:short"}]}
    config = load_config(folder / "chosen.yaml")
    planned = {step.stage.name: step.action for step in line.plan(config)}
    assert planned["train"] == "skip"
    changed = config.model_copy(update={"judges": load_config(write_other(folder, other)).judges})
    assert {step.stage.name: step.action for step in line.plan(changed)}["train"] == "run"
    assert read_manifest(plain.run_dir / "train").config.keys() & {"choose", "judge", "asked"} == set()


def write_other(folder, sections):
    config = load_config(folder / "chosen.yaml")
    return write_config(folder, config.events.inputs[0], config.model, "other", **sections)
