"""What is said of settings: each has a meaning and a unit, and the schema for editors takes what loads and no more."""

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from thumbline.pipeline.config import load_config
from thumbline.pipeline.config.keys import sections
from thumbline.pipeline.config.schema import SCHEMA_FILE, run_schema, settings_named, summaries
from thumbline.pipeline.errors import ConfigError

ROOT = Path(__file__).parents[3]
FOUND = sorted(ROOT.joinpath("pipeline", "configs").rglob("*.yaml"))
CONFIGS = [path for path in FOUND if path.parent.name != "cluster"]
SCHEMA = Draft202012Validator(run_schema())
MINIMAL = {"model": "demo", "events": {"inputs": ["log.jsonl"]}}
EVERY = settings_named()


def test_every_setting_of_every_section_is_there():
    held = {f"{place}.{name}".lstrip(".") for place, model in sections().items() for name in model.model_fields}
    assert held - {one.key for one in EVERY} == set(sections()) - {
        "",
        "train.also",
        "train.lora",
        "train.rollouts",
        "judges",
    }


@pytest.mark.parametrize("setting", EVERY, ids=lambda setting: setting.key)
def test_every_setting_has_a_meaning_and_every_quantity_a_unit(setting):
    assert len(setting.meaning) > 10 and setting.meaning.endswith((".", ")"))
    assert bool(setting.unit) == ("number" in setting.takes and "text" not in setting.takes) or setting.key.endswith(
        "seed"
    )


def test_every_section_says_what_it_is():
    assert all(summaries().values())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_schema_takes_every_committed_config(path):
    SCHEMA.validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_the_schema_takes_the_defaults_and_itself():
    Draft202012Validator.check_schema(run_schema())
    for setting in EVERY:
        if setting.default is not None and "." in setting.key and not setting.key.startswith(("judges", "train.also")):
            *places, name = setting.key.split(".")
            document: dict = {**MINIMAL}
            inner = document
            for place in places:
                inner[place] = dict(inner.get(place, {}))
                inner = inner[place]
            inner[name] = setting.default
            SCHEMA.validate(document)


@pytest.mark.parametrize(
    "sections",
    [
        {"events": {"inputs": ["a"], "options": {"up": True, "down": [1, "BAD"], "prompt": "q"}}},
        {
            "reference": {"dtype": "auto"},
            "train": {"dtype": "auto", "adapter": "lora", "lora": {"target_modules": ["q_proj"]}},
        },
        {"judges": [{"judge": "votes"}], "train": {"also": [{"method": "ipo", "weight": 0.5}]}},
        {"metrics": {"reference_answers": "all"}, "responses": {"half_life_days": None}},
    ],
)
def test_the_schema_takes_what_loads(tmp_path, sections):
    SCHEMA.validate(MINIMAL | sections)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | sections))
    assert load_config(path)


@pytest.mark.parametrize(
    "sections",
    [
        {"trian": {}},
        {"train": {"epoch": 1}},
        {"train": {"epochs": 0}},
        {"train": {"dtype": "float16"}},
        {"train": {"also": [{"weight": 1}]}},
        {"pairs": {"strategy": "best"}},
        {"events": {}},
        {"splits": {"test": 2}},
        {"events": {"inputs": ["a"], "options": {"up": {"a": 1}}}},
    ],
)
def test_the_schema_refuses_what_does_not_load(tmp_path, sections):
    with pytest.raises(ValidationError):
        SCHEMA.validate(MINIMAL | sections)
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | sections))
    with pytest.raises(ConfigError):
        load_config(path)


def test_the_schema_lies_in_the_package_as_it_is():
    stored = json.loads((ROOT / "pipeline" / "config" / SCHEMA_FILE).read_text(encoding="utf-8"))
    assert stored == run_schema(), f"thumbline settings --schema > pipeline/config/{SCHEMA_FILE}"


def test_a_section_has_its_own_settings_first_and_those_within():
    keys = [one.key for one in settings_named("train")]
    assert keys[0] == "train.method" and {"train.lora.rank", "train.also.weight", "train.keep"} <= set(keys)
    assert [one.key for one in settings_named("train.lora")][-4:] == [
        "train.lora.rank",
        "train.lora.alpha",
        "train.lora.use_rslora",
        "train.lora.target_modules",
    ]


def test_a_key_alone_gives_all_of_that_name():
    assert [one.key for one in settings_named("epochs")] == ["thumbs.epochs", "train.epochs", "train.rollouts.epochs"]
    (found,) = settings_named("train.max_steps")
    assert found == ("train.max_steps", "whole number, at least 1", "steps", None, False, found.meaning)
    (found,) = settings_named("splits.test")
    assert found[1:5] == ("number from 0 to 1", "share of rows", 0.2, False)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("trian", "train"), ("train.epoch", "train.epochs"), ("max_step", "train.max_steps"), ("EVENTS", "events")],
)
def test_an_unknown_name_is_told_with_the_nearest(name, nearest):
    with pytest.raises(ConfigError, match=f"unknown section or key '{name}'. Did you mean '{nearest}'?"):
        settings_named(name)
