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
from tokenizers import AddedToken
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
