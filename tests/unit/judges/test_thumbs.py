"""The thumbs model judges answers as they were logged: whole turns, ended."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from tests.tiny import tiny_tokenizer
from tests.unit.judges.answers import answer
from thumbline.pipeline.config import JudgeConfig
from thumbline.pipeline.engines.base import TokenSequence
from thumbline.pipeline.engines.thumbs_model import open_thumbs_model
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.judges import Judgement, Surroundings
from thumbline.pipeline.judges.registry import outside
from thumbline.pipeline.judges.thumbs import ThumbsOptions, open_thumbs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thumbs_model")
    tokenizer = tiny_tokenizer()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForSequenceClassification(config)
        torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def judge(folder):
    found = open_thumbs(ThumbsOptions(), Surroundings("thumbs", thumbs_model=folder, device="cpu", dtype="float32"))
    yield found
    found.close()


def score_of(folder, text):
    ids = tuple(tiny_tokenizer()(text, add_special_tokens=False)["input_ids"])
    (score,) = open_thumbs_model(folder, "cpu", "float32").scores([TokenSequence("0" * 32, ids[:1], ids[1:])])
    return score


def test_an_answer_is_scored_as_a_finished_turn_however_it_was_sampled(judge, folder):
    whole = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\nPlant beans.<|im_end|>"
    answers = [answer("What?", "Plant beans."), answer("What?", "Plant beans.")._replace(completion_token_ids=(5, 6))]
    made = judge.judge(answers, lambda _: None)
    assert [one.score for one in made] == [pytest.approx(score_of(folder, whole), abs=1e-5)] * 2
    assert judge.judge(answers[:1], lambda _: None) == [pytest.approx(made[0])]


def test_an_empty_answer_is_judged_by_its_end_token(judge, folder):
    ended = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n<|im_end|>"
    wanted = pytest.approx(score_of(folder, ended), abs=1e-5)
    made = judge.judge([answer("What?", ""), answer("What?", " \n")._replace(completion_token_ids=())], lambda _: None)
    assert made == [Judgement(wanted)] * 2
    assert judge.facts()["said"] == []


def test_what_the_template_refuses_has_no_score_and_is_said(folder):
    around = Surroundings("thumbs", thumbs_model=folder, device="cpu", dtype="float32")
    found = open_thumbs(ThumbsOptions(), around)
    made = found.judge([answer("What?", "yes")._replace(tools='[{"name": "f"}]'), answer("?", "yes")], lambda _: None)
    assert made[0] == Judgement(None, "tools_not_written") and made[1].score is not None
    assert found.facts()["said"] == ["thumbs: answers that the thumbs model cannot be given: tools_not_written 1."]
    found.close()


def test_progress_is_every_answer_once(judge):
    told = []
    judge.judge([answer("What?", "yes")] * 300, told.append)
    assert told == [256, 44]


def test_another_models_folder_is_part_of_what_the_stage_depends_on(folder):
    digests = outside([JudgeConfig(judge="thumbs", name="other", options={"model": str(folder)})])
    assert set(digests) == {"other:model", "other:tokenizer"}
    assert outside([JudgeConfig(judge="thumbs")]) == {}


def test_without_a_model_it_says_what_to_set():
    with pytest.raises(ConfigError, match="thumbs needs a thumbs model: set thumbs.method"):
        open_thumbs(ThumbsOptions(), Surroundings("thumbs"))
