"""Run files that are no YAML, or YAML that nobody would write: one message, and what is read is what stands there."""

import pytest
import yaml

from thumbline.pipeline.config import build_config, load_config
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.line import load_saved_config

MINIMAL = "model: demo\nevents: {inputs: [log.jsonl]}\n"
LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BROKEN = {
    "empty": (b"", "this one is an empty file"),
    "a list": (b"- a\n- b\n", "this one is a list"),
    "not UTF-8": ("model: d\xe9mo".encode("latin-1"), "byte 8 is not UTF-8"),
    "no YAML": (b"a: [", "not readable as YAML"),
    "a tab": (b"model: demo\nevents:\n\tinputs: [a]\n", r"line 3, column 1: found character '\\t'"),
    "NUL": (b"model: d\0emo", "special characters are not allowed"),
    "code": (b"model: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
    "no date": (b"train: {loss: {beta: 2024-13-45}}\n", "month must be in 1..12"),
    "5,000 digits": (b"train: {max_steps: " + b"9" * 5000 + b"}", "Exceeds the limit"),
    "a list as key": (b"? [a]\n: 1\n", "line 1, column 3: found unhashable key"),
    "5,000 deep": (f"train: {'{a: ' * 5000}1{'}' * 5000}\n".encode(), "more than 64 levels inside one another"),
    "70 deep": (f"train: {'{a: ' * 70}1{'}' * 70}\n".encode(), "more than 64 levels inside one another"),
    "within itself": (b"train: {loss: &a {b: *a}}\n", "more than 64 levels inside one another"),
    "billions of values": (LAUGHS.encode(), "more than 100,000 values"),
    "a key twice": (
        b"model: demo\ntrain: {}\ntrain: {epochs: 2}\n",
        "line 3, column 1: the key 'train' is there twice, before that on line 2",
    ),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_no_run_file_is_gives_one_message(tmp_path, content, message):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as told:
        load_config(path)
    assert str(told.value).startswith(str(path)) and len(str(told.value)) < 1000


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_saved_settings_that_were_damaged_give_one_message(tmp_path, content, message):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message) as told:
        load_saved_config(tmp_path)
    assert "`thumbline run` of its run file writes them anew" in str(told.value)


def test_saved_settings_with_an_unknown_key_are_refused_by_name(tmp_path):
    saved = build_config({"name": "old", "model": "demo", "events": {"inputs": ["a"]}}, origin="test")
    document = saved.model_dump(mode="json") | {"trian": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=r"unknown key 'trian'\. Did you mean 'train'\?"):
        load_saved_config(tmp_path)


def test_a_byte_order_mark_and_merged_keys_are_read(tmp_path):
    path = tmp_path / "run.yaml"
    text = "reference: &same {shard_rows: 8, batch_tokens: 64}\ntrain: {loss: {<<: *same, batch_tokens: 9}}\n"
    path.write_bytes(b"\xef\xbb\xbf" + (MINIMAL + text).encode())
    found = load_config(path)
    assert found.reference.shard_rows == 8 and found.train.loss == {"shard_rows": 8, "batch_tokens": 9}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {also: [{method: ipo}, {method: x, wieght: 1}]}",
            r"train\.also\.1\.wieght: .*Did you mean 'weight'\?",
        ),
        ("judges: [{judge: votes, nam: 1}]", r"judges\.0\.nam: .*Did you mean 'name'\?"),
        ("train: {lora: {rnk: 1}}", r"train\.lora\.rnk: .*Did you mean 'rank'\?"),
        ("train: {max_tokens: 9}", r"There is one of that name in: sequences\."),
        ("train: {beta: 0.3}", r"Hyper-parameters of the method stand in train\.loss\."),
        ("strategy: best_worst", r"There is one of that name in: pairs\."),
        ("1: 2", "1: Keys should be strings"),
    ],
)
def test_an_unknown_key_at_any_depth_names_the_nearest(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(f"{MINIMAL}{text}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(path)
