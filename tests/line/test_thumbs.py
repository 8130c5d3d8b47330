"""The thumbs model from end to end on a tiny model: trained, interrupted, calibrated, and read by transformers."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from tests.line.conftest import write_config
from thumbline.evaluators.rate_calibration import Calibration
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.engines.base import TokenSequence
from thumbline.pipeline.engines.thumbs_model import CALIBRATION_FILE, open_thumbs_model
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.storage.manifests import read_manifest
from thumbline.pipeline.training import step

THUMBS = {
    "method": "reward_bce",
    "learning_rate": 1e-2,
    "epochs": 5,
    "batch_rows": 16,
    "dtype": "float32",
    "device": "cpu",
}
SPLITS = {"validation": 0.2, "test": 0.2}


def run(folder, log, policy, source=None, **thumbs):
    config = load_config(write_config(folder, log, policy, splits=SPLITS, thumbs=THUMBS | thumbs))
    list(line.run(config, line.select(None, "thumbs"), source=source))
    return config.run_dir


def table(folder, stage, name):
    return pl.read_parquet(folder / stage / f"{name}.parquet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_log, tiny_model):
    return run(tmp_path_factory.mktemp("thumbs"), small_log, tiny_model)


def test_it_learns_what_is_liked(trained):
    scores = table(trained, "thumbs", "thumbs_scores")
    assert set(scores["split"]) == {"validation", "test"}
    up, down = (scores.filter(pl.col("label") == label)["score"] for label in (True, False))
    # Nearly all that end politely are liked; the few others are beyond any model.
    assert np.mean(up.to_numpy()[:, None] > down.to_numpy()) > 0.9
    assert scores["probability"].is_between(0, 1).all()
    assert scores["token_count"].min() > 0
    assert scores["script"].to_list() == ["latin"] * scores.height


def test_the_log_says_what_was_learnt(trained):
    log = table(trained, "thumbs", "thumbs_log")
    loss = log.filter(metric="loss", phase="validation").sort("step")["value"]
    assert loss[0] == pytest.approx(np.log(2), abs=0.01)  # a head near 0 gives even chances
    assert loss[1] < 0.65
    assert {"accuracy", "desirable_scores", "undesirable_scores", "grad_norm"} <= set(log["metric"])
    notes = read_manifest(trained / "thumbs").notes
    assert notes["method"] == "reward_bce"
    assert notes["calibration"]["rows"] == table(trained, "thumbs", "thumbs_scores").filter(split="validation").height


def test_rates_are_those_of_the_models_own_calibration(trained):
    scores = table(trained, "thumbs", "thumbs_scores")
    curve = Calibration.from_json((trained / "thumbs" / "thumbs_model" / CALIBRATION_FILE).read_text())
    assert scores["probability"].to_list() == curve.rate(scores["score"].to_numpy()).tolist()


def test_transformers_gives_the_same_scores(trained):
    folder = trained / "thumbs" / "thumbs_model"
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    rows = table(trained, "thumbs", "thumbs_scores").join(
        table(trained, "sequences", "row_sequences").select("response_id", "sequence_id"), on="response_id"
    )
    rows = rows.join(table(trained, "sequences", "sequences"), on="sequence_id")
    token_ids = [prompt + answer for prompt, answer in rows.select("prompt_token_ids", "completion_token_ids").rows()]
    assert len({len(ids) for ids in token_ids}) > 1
    # Padded with its own token, of which it takes the last that is another.
    padded = [ids + [model.config.pad_token_id] * (max(map(len, token_ids)) - len(ids)) for ids in token_ids]
    mask = [[1] * len(ids) + [0] * (len(row) - len(ids)) for ids, row in zip(token_ids, padded, strict=True)]
    with torch.no_grad():
        found = model(torch.tensor(padded), attention_mask=torch.tensor(mask)).logits[:, 0]
    assert found.tolist() == pytest.approx(rows["score"].to_list(), abs=1e-4)


def test_a_conversation_is_scored_where_its_answer_ends(trained):
    """RewardBench renders the chat template and asks a text-classification pipeline."""
    folder = trained / "thumbs" / "thumbs_model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = [{"role": "user", "content": "When do I plant beans?"}]
    texts = [
        tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": answer}], tokenize=False)
        for answer in ("In May, thanks.", "In March or so, go away.")
    ]
    assert all(text.endswith("<|im_end|>") for text in texts)
    ask = pipeline("text-classification", model=str(folder), dtype=torch.float32, device="cpu")
    found = ask(texts, function_to_apply="none", batch_size=2, padding=True, add_special_tokens=False)
    entries = [TokenSequence("", tuple(tokenizer(text, add_special_tokens=False)["input_ids"]), ()) for text in texts]
    expected = open_thumbs_model(folder, "cpu", "float32").scores(entries)
    assert [one["score"] for one in found] == pytest.approx(expected, abs=1e-4)
    assert expected[0] > expected[1]


@pytest.mark.parametrize("method", ["reward_bt", "both"])
def test_pairs_teach_it_too(tmp_path, small_log, tiny_model, method):
    folder = run(tmp_path, small_log, tiny_model, method=method)
    scores = table(folder, "thumbs", "thumbs_scores")
    up, down = (scores.filter(pl.col("label") == label)["score"] for label in (True, False))
    assert np.mean(up.to_numpy()[:, None] > down.to_numpy()) > 0.9
    log = table(folder, "thumbs", "thumbs_log")
    assert ("pair_accuracy" in set(log["metric"])) and (("accuracy" in set(log["metric"])) == (method == "both"))
    trained_on = read_manifest(folder / "thumbs").notes["trained_on"]
    assert set(trained_on) == ({"pairs", "unpaired"} if method == "both" else {"pairs"})


@pytest.mark.parametrize(
    ("setting", "value", "column"),
    [
        ("learning_rate", 1e-3, "score"),
        ("epochs", 1.0, "score"),
        ("batch_rows", 8, "score"),
        ("seed", 1, "score"),
        ("dtype", "bfloat16", "score"),
        ("calibration", "isotonic", "probability"),
    ],
)
def test_each_setting_changes_the_scores(tmp_path, small_log, tiny_model, trained, setting, value, column):
    folder = run(tmp_path, small_log, tiny_model, trained, **{setting: value})
    found, before = (table(place, "thumbs", "thumbs_scores") for place in (folder, trained))
    assert found["response_id"].to_list() == before["response_id"].to_list()
    assert not np.allclose(found[column].to_numpy(), before[column].to_numpy(), atol=1e-6)


def test_rows_a_forward_pass_change_rounding_alone(tmp_path, small_log, tiny_model, trained):
    folder = run(tmp_path, small_log, tiny_model, trained, micro_batch_rows=3)
    found, before = (table(place, "thumbs", "thumbs_scores") for place in (folder, trained))
    np.testing.assert_allclose(found["score"].to_numpy(), before["score"].to_numpy(), atol=0.05)


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path, small_log, tiny_model, trained, monkeypatch):
    taken, calls = step.take_step, []

    def killed(*given):
        calls.append(given)
        if len(calls) == 22:
            raise KeyboardInterrupt
        return taken(*given)

    with monkeypatch.context() as patched:
        patched.setattr(step, "take_step", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, small_log, tiny_model)
    partial = list((tmp_path / "runs" / "run").glob("thumbs*/checkpoint-*.pt"))
    assert len(partial) == 1
    folder = run(tmp_path, small_log, tiny_model)
    assert len(calls) == 22
    for name in ("thumbs_log.parquet", "thumbs_scores.parquet", "thumbs_model/model.safetensors"):
        assert (folder / "thumbs" / name).read_bytes() == (trained / "thumbs" / name).read_bytes()


def test_a_model_that_is_there_already_is_calibrated_anew(tmp_path, small_log, tiny_model, trained):
    source = trained / "thumbs" / "thumbs_model"
    folder = run(tmp_path, small_log, tiny_model, method="none", model=str(source), calibration="isotonic")
    found, before = (table(place, "thumbs", "thumbs_scores") for place in (folder, trained))
    assert found["score"].to_list() == before["score"].to_list()
    assert json.loads((folder / "thumbs" / "thumbs_model" / CALIBRATION_FILE).read_text())["kind"] == "isotonic"
    assert table(folder, "thumbs", "thumbs_log").is_empty()
    assert json.loads((source / CALIBRATION_FILE).read_text())["kind"] == "platt"


def test_a_model_with_other_token_ids_is_refused(tmp_path, small_log, tiny_model, trained):
    other = tmp_path / "other"
    shutil.copytree(trained / "thumbs" / "thumbs_model", other)
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["<|new|>"])
    tokenizer.save_pretrained(other)
    with pytest.raises(ConfigError, match="gives other token ids than that of the run's model"):
        run(tmp_path, small_log, tiny_model, method="none", model=str(other))


def test_few_validation_rows_leave_rates_out_and_say_so(tmp_path, small_log, tiny_model):
    config = load_config(
        write_config(tmp_path, small_log, tiny_model, splits={"validation": 0.02}, thumbs=THUMBS | {"epochs": 0.1})
    )
    list(line.run(config, line.select(None, "thumbs")))
    assert table(config.run_dir, "thumbs", "thumbs_scores")["probability"].is_null().all()
    (said,) = [one for one in read_manifest(config.run_dir / "thumbs").notes["said"] if "calibration" in one]
    assert "of each are the least for a curve. Enlarge splits.validation" in said
    assert not (config.run_dir / "thumbs" / "thumbs_model" / CALIBRATION_FILE).exists()


def test_it_is_no_policy(tmp_path, small_log, tiny_model):
    with pytest.raises(ConfigError, match=r"reward_bce trains a thumbs model.*--until thumbs"):
        load_config(write_config(tmp_path, small_log, tiny_model, train={"method": "reward_bce"}))
