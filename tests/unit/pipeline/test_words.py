"""A run file's texts are taken as they are written, whatever YAML makes of them."""

import pytest

from thumbline.pipeline.config import load_config
from thumbline.pipeline.config.words import read_yaml
from thumbline.pipeline.errors import ConfigError

FILE = "model: demo\nevents:\n  inputs: [log.jsonl]\n  options:\n    {}\n"


@pytest.fixture
def options(tmp_path):
    def read(text, *settings):
        path = tmp_path / "run.yaml"
        path.write_text(FILE.replace("{}", text))
        return load_config(path, settings).events.options

    return read


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Yes", "Yes"),
        ("no", "no"),
        ("on", "on"),
        ("True", "True"),
        ("5", "5"),
        ("4.50", "4.50"),
        ("010", "010"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("[4, 5]", "4, 5"),
        ("[Yes, No, 1]", "Yes, No, 1"),
        ('">=4"', ">=4"),
        ("'null'", "null"),
    ],
)
def test_a_label_is_the_word_that_is_written(options, written, meant):
    assert options(f"up: {written}") == {"up": meant}
    assert options("prompt: q", f"events.options.up={written}") == {"prompt": "q", "up": meant}
    assert options("prompt: q", f"events.options={{up: {written}}}") == {"up": meant}


def test_null_is_no_label(options):
    for nothing in ("null", "~", "[null]"):
        with pytest.raises(ConfigError, match=r"events\.options\.up"):
            options(f"up: {nothing}")


def test_other_settings_of_texts_are_too_and_flags_stay_flags(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "model: demo\nname: 2024\nrevision: 0123\nevents: {inputs: [a]}\n"
        "responses: {languages: [no, en], screen_secrets: no, half_life_days: 30}\npairs: {same_model: yes, model: 4}\n"
        "splits: {evaluation_sets: {held: 2024}}\njudges: [{judge: votes, name: no}]\n"
    )
    config = load_config(path, ("splits.salt=1e3",))
    assert (config.name, config.revision, config.pairs.model, config.splits.salt) == ("2024", "0123", "4", "1e3")
    assert (config.responses.languages, config.judges[0].name) == (("no", "en"), "no")
    assert (config.responses.screen_secrets, config.pairs.same_model, config.responses.half_life_days) == (
        False,
        True,
        30,
    )


def test_an_unknown_place_is_read_as_yaml_reads_it():
    assert read_yaml("yes", ("trian", "x")) is True
    assert read_yaml("", ("train",)) is None
    assert read_yaml("&a [1, *a]", ("events", "options"))[0] == 1


@pytest.mark.parametrize(("written", "base"), [("010", 8), ("-0_7", 8), ("1:30", 60), ("1:30.5", 60)])
@pytest.mark.parametrize("section", ["train: {epochs: 1, batch_rows: %s}", "train: {loss: {beta: %s}}"])
def test_a_number_that_yaml_reads_to_another_base_is_refused(tmp_path, section, written, base):
    (tmp_path / "run.yaml").write_text(FILE + section % written + "\n")
    with pytest.raises(ConfigError, match=f"YAML reads '{written}' as a number to base {base}; write it to base 10"):
        load_config(tmp_path / "run.yaml")


def test_numbers_whose_base_is_written_and_others_are_read():
    assert read_yaml("[0x10, 0b11, 1_000, 0, -0, 10, 0.5, 00.5, 1.0e-3, .5]", ("x",)) == [
        *(16, 3, 1000, 0, 0, 10),
        *(0.5, 0.5, 0.001, 0.5),
    ]
