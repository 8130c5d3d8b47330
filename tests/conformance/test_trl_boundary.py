"""Prompt and completion have the token ids that TRL's trainers give them, on every family of chat templates.

TRL's own preparation of a data set runs here, on the templates of our tests and on those of real models that come with
TRL. One thing differs everywhere: ours ends at the end token, theirs with the white space that a template writes after
it, which no model ever generates.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import trl
from jinja2.exceptions import UndefinedError
from tokenizers import AddedToken, processors
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from tests.chat_templates import FAMILIES, THINKING, family_tokenizer
from tests.tiny import tiny_tokenizer
from thumbline.pipeline.engines.encoding import Encoder

TEMPLATES = {
    f"trl {path.stem}": path.read_text(encoding="utf-8")
    for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
    if not path.stem.endswith("_training")
}
# They take parts, not text, and the trainers of text data give them text: TRL writes none of it, or fails.
OF_IMAGES = {"trl idefics3", "trl llava_next", "trl smolvlm"}
_TOKENS = re.compile(r"<\|[^\s'\"{}<>]+?\|>|<｜[^\s'\"{}<>]+?｜>|<(?:start|end)_of_turn>")  # noqa: RUF001


def user(text):
    return {"role": "user", "content": text}


def answer(text, **more):
    return {"role": "assistant", "content": text, **more}


SYSTEM = {"role": "system", "content": "Answer in one word."}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "soil_report",
            "description": "Soil of a field.",
            "parameters": {
                "type": "object",
                "properties": {"field": {"type": "string", "description": "Its name."}},
                "required": ["field"],
            },
        },
    }
]
CALL = [{"id": "a1b2c3d4e", "type": "function", "function": {"name": "soil_report", "arguments": {"field": "west"}}}]
RESULT = {"role": "tool", "tool_call_id": "a1b2c3d4e", "name": "soil_report", "content": "clay"}
# Prompt, chosen, rejected, tools.
ROWS = {
    "one turn": ([user("What grows here?")], answer("Beans."), answer("Nothing at all."), None),
    "a system turn": ([SYSTEM, user("What grows here?")], answer("Beans."), answer("Nothing at all."), None),
    "three turns": ([user("Hi"), answer("Hello."), user("What grows?")], answer("Beans."), answer("Nothing."), None),
    "thoughts in texts": (
        [user("What grows here?")],
        answer("<think>\nWarm soil.\n</think>\n\nBeans."),
        answer("<think>\nHm.\n</think>\n\nNothing."),
        None,
    ),
    "a thought in one text": (
        [user("What grows here?")],
        answer("<think>\nWarm soil.\n</think>\n\nBeans."),
        answer("Nothing."),
        None,
    ),
    "thoughts": (
        [user("What grows here?")],
        answer("Beans.", reasoning_content="Warm soil."),
        answer("Nothing.", reasoning_content="Hm."),
        None,
    ),
    "a call": ([user("How is the west field?")], answer("", tool_calls=CALL), answer("I cannot know."), TOOLS),
    "a call and text": (
        [user("How is the west field?")],
        answer("Let me look.", tool_calls=CALL),
        answer("I cannot know."),
        TOOLS,
    ),
    "a tool's result": (
        [user("How is the west field?"), answer("", tool_calls=CALL), RESULT],
        answer("It is clay."),
        answer("It is sand."),
        TOOLS,
    ),
}


def tokenizer_of(name):
    if name in FAMILIES:
        return family_tokenizer(name)
    if name == "thinking":
        return tiny_tokenizer(THINKING)
    tokenizer = tiny_tokenizer(TEMPLATES[name])
    tokens = dict.fromkeys(["<bos>", "<eos>", *_TOKENS.findall(TEMPLATES[name])])
    tokenizer.add_tokens(
        [AddedToken(token, special=True) for token in tokens if token not in tokenizer.get_vocab()]
        + [AddedToken(token, special=False) for token in ("<think>", "</think>", "<tool_call>", "</tool_call>")]
    )
    tokenizer.bos_token, tokenizer.eos_token = "<bos>", "<eos>"
    return tokenizer


class Rows(list):
    """Rows as they are: a data set of Arrow would give every message every key."""

    def map(self, function, fn_kwargs=None, **options):
        return Rows([{**row, **function(row, **(fn_kwargs or {}))} for row in self])

    def filter(self, function, **options):
        return Rows([row for row in self if function(row)])


def theirs(trainer, config, tokenizer, row, folder):
    """The row as TRL's trainer prepares it."""
    stand_in = SimpleNamespace(_tokenizer=tokenizer, calculate_KL=False)
    settings = config(output_dir=str(folder), max_length=None, use_cpu=True, bf16=False)
    return trainer._prepare_dataset(stand_in, Rows([row]), tokenizer, settings, "train")[0]


def ours(tokenizer, prompt, answers, tools=None, template="chat", **options):
    """The answers as we encode them, as one group."""

    def extra(message):
        more = {key: value for key, value in message.items() if key not in ("role", "content")}
        return json.dumps(more) if more else None

    messages = [{"role": turn["role"], "content": turn["content"], "extra": extra(turn)} for turn in prompt]
    count = len(answers)
    return list(
        Encoder(tokenizer, template, 4096, "drop", **options).encode(
            [messages] * count,
            [turn["content"] for turn in answers],
            [extra(turn) for turn in answers],
            [None if tools is None else json.dumps(tools)] * count,
            groups=[0] * count,
        )
    )


def assert_same(tokenizer, encoded, prompt_ids, completion_ids):
    assert encoded.prompt_token_ids == prompt_ids
    length = len(encoded.completion_token_ids)
    assert encoded.completion_token_ids == completion_ids[:length]
    assert not tokenizer.decode(completion_ids[length:]).strip()


NAMES = [*FAMILIES, "thinking", *(name for name in TEMPLATES if name not in OF_IMAGES)]
# Reasons for which a row is dropped here, and trained on in TRL without what the template cannot write.
LOSSES = {"tools_not_written", "tool_calls_not_written", "reasoning_not_written"}


@pytest.fixture(scope="module", params=NAMES)
def tokenizer(request):
    return tokenizer_of(request.param)


@pytest.mark.parametrize("kind", ROWS)
def test_a_pair_has_the_token_ids_of_trls_dpo_and_a_row_those_of_its_kto(tokenizer, kind, tmp_path):
    prompt, chosen, rejected, tools = ROWS[kind]
    pair = ours(tokenizer, prompt, [chosen, rejected], tools)
    (alone,) = ours(tokenizer, prompt, [chosen], tools)
    refused = {row.drop_reason for row in pair} - {None}
    if "template_refuses" in refused:
        with pytest.raises(Exception, match=re.escape(pair[0].detail.split(": ")[-1])):
            theirs(DPOTrainer, DPOConfig, tokenizer, dpo_row(kind), tmp_path)
        return
    if refused or reads_another_key(tokenizer, kind):
        assert refused <= LOSSES
        return
    expected = theirs(DPOTrainer, DPOConfig, tokenizer, dpo_row(kind), tmp_path)
    assert_same(tokenizer, pair[0], expected["prompt_ids"], expected["chosen_ids"])
    assert_same(tokenizer, pair[1], expected["prompt_ids"], expected["rejected_ids"])
    row = {"prompt": prompt, "completion": [chosen], "label": True, "tools": tools}
    expected = theirs(KTOTrainer, KTOConfig, tokenizer, row, tmp_path)
    assert_same(tokenizer, alone, expected["prompt_ids"], expected["completion_ids"])


def dpo_row(kind):
    prompt, chosen, rejected, tools = ROWS[kind]
    return {"prompt": prompt, "chosen": [chosen], "rejected": [rejected], "tools": tools}


def reads_another_key(tokenizer, kind):
    """Whether the template reads thoughts under another name alone, which TRL does not give it."""
    return (
        kind == "thoughts"
        and ".thinking" in tokenizer.chat_template
        and ("reasoning_content" not in tokenizer.chat_template)
    )


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("texts", [("Q: What?\nA:", " Beans.", " Nothing."), ("Plant be", "ans.", "ets.<|im_end|>")])
def test_plain_texts_have_trls_ids_also_where_tokens_merge(begins, texts, tmp_path):
    tokenizer = tiny_tokenizer(None)
    if begins:
        begin = ("<|im_start|>", tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[begin]
        )
    prompt, *answers = texts
    pair = ours(tokenizer, [user(prompt)], [answer(text) for text in answers], template="plain")
    row = {"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}
    expected = theirs(DPOTrainer, DPOConfig, tokenizer, row, tmp_path)
    assert pair[0][:2] == (expected["prompt_ids"], expected["chosen_ids"])
    assert pair[1][:2] == (expected["prompt_ids"], expected["rejected_ids"])


def test_a_row_of_kto_continues_the_prompt_of_all_answers_to_it_where_trl_gives_each_its_own(tmp_path):
    tokenizer = tokenizer_of("thinking")
    prompt, chosen, rejected, _ = ROWS["a thought in one text"]
    rows = ours(tokenizer, prompt, [chosen, rejected])
    found = [
        theirs(KTOTrainer, KTOConfig, tokenizer, {"prompt": prompt, "completion": [one], "label": True}, tmp_path)
        for one in (chosen, rejected)
    ]
    assert rows[0].prompt_token_ids == rows[1].prompt_token_ids == found[1]["prompt_ids"]
    assert len(found[0]["prompt_ids"]) > len(found[1]["prompt_ids"])


def test_trl_is_wrong_to_end_an_answer_twice_that_has_its_end_token(tmp_path):
    tokenizer = tokenizer_of("chatml")
    prompt, chosen, rejected = [user("What?")], answer("Beans.<|im_end|>"), answer("Nothing.")
    row = {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]}
    expected = theirs(DPOTrainer, DPOConfig, tokenizer, row, tmp_path)
    assert expected["chosen_ids"].count(tokenizer.eos_token_id) == 2
    (encoded,) = ours(tokenizer, prompt, [chosen])
    assert encoded.completion_token_ids.count(tokenizer.eos_token_id) == 1


def test_trl_is_wrong_to_make_the_question_a_part_of_the_answer_where_a_template_moves_the_system_text(tmp_path):
    tokenizer = tokenizer_of("mistral")
    tokenizer.chat_template = (
        "{% for turn in messages %}{% if turn.role == 'user' %}[INST] "
        "{% if loop.last and messages[0].role == 'system' %}{{ messages[0].content }} {% endif %}"
        "{{ turn.content }} [/INST]{% elif turn.role == 'assistant' %} "
        "{{ turn.content }}{{ eos_token }}{% endif %}{% endfor %}"
    )
    prompt, chosen, rejected, _ = ROWS["a system turn"]
    row = {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]}
    assert "What grows here?" in tokenizer.decode(theirs(DPOTrainer, DPOConfig, tokenizer, row, tmp_path)["chosen_ids"])
    (encoded,) = ours(tokenizer, prompt, [chosen])
    assert "What grows here?" in tokenizer.decode(encoded.prompt_token_ids)
    assert tokenizer.decode(encoded.completion_token_ids).strip() == "Beans.</s>"


@pytest.mark.parametrize("name", sorted(OF_IMAGES))
def test_trl_is_wrong_to_give_text_to_templates_that_take_parts(name, tmp_path):
    tokenizer = tokenizer_of(name)
    prompt, chosen, rejected, _ = ROWS["one turn"]
    (encoded,) = ours(tokenizer, prompt, [chosen])
    assert "Beans." in tokenizer.decode(encoded.completion_token_ids)
    row = {"prompt": prompt, "chosen": [chosen], "rejected": [rejected]}
    try:
        expected = theirs(DPOTrainer, DPOConfig, tokenizer, row, tmp_path)
    except UndefinedError:
        return
    assert "Beans." not in tokenizer.decode(expected["chosen_ids"])


@pytest.mark.parametrize("name", ["trl gptoss", "trl lfm2_2_5"])
def test_trl_is_wrong_to_lose_thoughts_whose_key_the_template_does_not_read(name, tmp_path):
    tokenizer = tokenizer_of(name)
    prompt, chosen, *_ = ROWS["thoughts"]
    row = {"prompt": prompt, "completion": [chosen], "label": True}
    expected = theirs(KTOTrainer, KTOConfig, tokenizer, row, tmp_path)
    assert "Warm soil." not in tokenizer.decode(expected["completion_ids"])
    (encoded,) = ours(tokenizer, prompt, [chosen])
    assert "Warm soil." in tokenizer.decode(encoded.completion_token_ids)
    # Under the key that it reads, the ids are alike.
    renamed = answer(chosen["content"], thinking=chosen["reasoning_content"])
    expected = theirs(KTOTrainer, KTOConfig, tokenizer, {**row, "completion": [renamed]}, tmp_path)
    assert_same(tokenizer, encoded, expected["prompt_ids"], expected["completion_ids"])


def test_trl_is_wrong_to_quote_arguments_that_are_json_text_already(tmp_path):
    tokenizer = tokenizer_of("trl qwen2_5")
    text = {**CALL[0], "function": {"name": "soil_report", "arguments": '{"field": "west"}'}}
    prompt, chosen, _, tools = ROWS["a call"]
    row = {"prompt": prompt, "completion": [answer("", tool_calls=[text])], "label": True, "tools": tools}
    expected = theirs(KTOTrainer, KTOConfig, tokenizer, row, tmp_path)
    assert r'"arguments": "{\"field\": \"west\"}"' in tokenizer.decode(expected["completion_ids"])
    (encoded,) = ours(tokenizer, prompt, row["completion"], tools)
    assert '"arguments": {"field": "west"}}' in tokenizer.decode(encoded.completion_token_ids)
    # As an object, the ids are alike.
    expected = theirs(KTOTrainer, KTOConfig, tokenizer, {**row, "completion": [chosen]}, tmp_path)
    assert_same(tokenizer, encoded, expected["prompt_ids"], expected["completion_ids"])
