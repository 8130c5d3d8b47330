import json
from pathlib import Path

import pytest
import yaml

from thumbline.pipeline.config import build_config, load_config
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.line import load_saved_config
from thumbline.pipeline.reading.inputs import expand_inputs
from thumbline.pipeline.training.methods import makes_mismatched

FOUND = sorted(Path(__file__).parents[3].joinpath("pipeline", "configs").rglob("*.yaml"))
# Those for a cluster's own tools are looked at in tests/unit/docs/test_cluster_files.py.
CONFIGS = [path for path in FOUND if path.parent.name != "cluster"]
MINIMAL = "model: demo\nevents: {inputs: [log.jsonl]}\n"


@pytest.fixture
def write(tmp_path):
    def make(text):
        path = tmp_path / "my-run.yaml"
        path.write_text(text)
        return path

    return make


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_committed_config_loads(path):
    assert load_config(path).name


def test_there_are_committed_configs():
    assert CONFIGS


def test_name_and_inputs_come_from_the_files_place(write, tmp_path):
    config = load_config(write(MINIMAL))
    assert config.name == "my-run"
    assert config.events.inputs == (str(tmp_path / "log.jsonl"),)


def test_addresses_are_left_alone(write):
    config = load_config(write("model: demo\nevents: {inputs: ['hub:org/set', 's3://bucket/x.jsonl', /abs.jsonl]}"))
    assert config.events.inputs == ("hub:org/set", "s3://bucket/x.jsonl", "/abs.jsonl")


def test_overrides_are_read_as_yaml(write):
    config = load_config(write(MINIMAL), ("train.method=kto", "train.loss.beta=0.2", "splits.test=0.3"))
    assert (config.train.method, config.train.loss, config.splits.test) == ("kto", {"beta": 0.2}, 0.3)


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (MINIMAL + "trian: {}", (), r"unknown key 'trian'\. Did you mean 'train'\?"),
        (MINIMAL + "train: {epoch: 1}", (), r"train\.epoch: unknown key 'epoch'\. Did you mean 'epochs'\?"),
        (MINIMAL + "train: {epochs: 0}", (), r"train\.epochs: .*greater than 0"),
        (MINIMAL + "train: {epochs: .inf}", (), r"train\.epochs: .*finite"),
        (MINIMAL + "train: {learning_rate: .inf}", (), r"train\.learning_rate: .*finite"),
        (MINIMAL + "train: {seed: -1}", (), r"train\.seed: .*greater than or equal to 0"),
        (MINIMAL + "sequences: {seed: -1}", (), r"sequences\.seed: .*greater than or equal to 0"),
        (MINIMAL + "metrics: {seed: 9223372036854775808}", (), r"metrics\.seed: .*less than 9223372036854775808"),
        (MINIMAL + "splits: {validation: 0.5, test: 0.5}", (), "nothing is left to train on"),
        ("- a list", (), "a mapping of keys"),
        (MINIMAL + "train: 5", (), r"train: this is a section; write its settings below it"),
        (MINIMAL + "judges: 5", (), r"judges: this is a list; write its entries as \[a, b\]"),
        (MINIMAL, ("name=s/t",), r"name: 's/t': it names the run's own folder: at least one character, and no '/'"),
        (MINIMAL, ("name=..",), r"name: .*'\.\.' is no folder's own name"),
        ("a: [", (), "not readable as YAML"),
        (MINIMAL, ("train.method",), "write it as key=value"),
        (MINIMAL, ("model.name=x",), "'model' is a value, not a section"),
        (MINIMAL, ("train.loss=[",), "not readable as YAML"),
        ("events: {inputs: []}\nmodel: demo", (), r"events\.inputs"),
    ],
)
def test_refusals_name_the_place(write, text, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write(text), overrides)


def test_a_section_of_comments_alone_sets_nothing(write):
    config = load_config(write(MINIMAL + "train:\n  # epochs: 2\njudges:\nreference:\n"))
    assert config.train.epochs == 1.0 and config.judges == () and config.store == str(config.run_dir.parent / "store")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such run file"):
        load_config(tmp_path / "none.yaml")


def test_a_log_in_place_of_a_run_file_is_told(tmp_path):
    (tmp_path / "thumbs.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match=r"this is a log by its name\. `thumbline init .*thumbs\.jsonl` looks at it"):
        load_config(tmp_path / "thumbs.jsonl")


@pytest.mark.parametrize(
    ("method", "settings", "needed"),
    [
        ("kto", (), True),
        ("kto", ("train.loss.reference_point=batch",), False),
        ("dpo", (), False),
        ("dpo", ("sequences.mismatched=true",), True),
    ],
)
def test_mismatched_rows_are_made_where_the_method_takes_them(write, method, settings, needed):
    assert makes_mismatched(load_config(write(MINIMAL), (f"train.method={method}", *settings))) is needed


def test_a_run_of_an_earlier_release_is_read(tmp_path):
    document = build_config({"name": "old", "model": "demo", "events": {"inputs": ["a"]}}, origin="test")
    saved = document.model_dump(mode="json") | {"command": "thumbline run old.yaml", "policy": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(saved))
    assert load_saved_config(tmp_path).run_dir == tmp_path


def test_the_name_of_a_run_files_folder_is_no_pattern(tmp_path):
    folder = tmp_path / "p[1]*"
    for place in (folder, tmp_path / "p1x"):
        (place / "logs").mkdir(parents=True)
        for name in ("a.jsonl", "b[2].jsonl"):
            (place / "logs" / name).touch()
    run_file = folder / "run.yaml"

    def found(entry):
        run_file.write_text(json.dumps({"model": "demo", "events": {"inputs": [entry]}}))
        return [file.path for file in expand_inputs(load_config(run_file).events.inputs).files]

    assert found("logs/*.jsonl") == [folder / "logs" / "a.jsonl", folder / "logs" / "b[2].jsonl"]
    assert found("logs/b[2].jsonl") == [folder / "logs" / "b[2].jsonl"]
    assert found("logs") == [folder / "logs" / "a.jsonl", folder / "logs" / "b[2].jsonl"]


@pytest.mark.parametrize(
    "written",
    ["train: {epochs: yes}", "train: {batch_rows: on}", "splits: {test: true}", "train: {max_steps: off}"],
)
def test_a_boolean_is_no_number(tmp_path, written):
    (tmp_path / "run.yaml").write_text(f"model: demo\nevents: {{inputs: [a.jsonl]}}\n{written}\n")
    with pytest.raises(ConfigError, match=r"(train|splits)\.\w+: Value error, a number is needed here"):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize("written", ['runs: "a\\0b"', 'model: "a\\0b"', 'reference: {store: "a\\0b"}', 'name: "a\\0"'])
def test_a_nul_character_is_refused_with_its_setting(tmp_path, written):
    lines = {"model": "demo", "events": "{inputs: [a.jsonl]}"} | dict([written.split(": ", 1)])
    (tmp_path / "run.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    with pytest.raises(ConfigError, match="holds a NUL character, which no path and no name can have"):
        load_config(tmp_path / "run.yaml")
    (tmp_path / "run.yaml").write_text('model: demo\nevents: {inputs: ["a.jsonl", "b\\0"]}\n')
    with pytest.raises(ConfigError, match="events.inputs: Value error, holds a NUL character"):
        load_config(tmp_path / "run.yaml")
