from typing import NamedTuple

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.tiny import CHATML, tiny_tokenizer
from thumbline.pipeline.engines.encoding import Encoder, load_encoder
from thumbline.pipeline.errors import InputError

# Families of templates as their models have them, each with the tokens that it writes.
LLAMA3 = (
    "{{ bos_token }}{% for turn in messages %}{{ '<|start_header_id|>' ~ turn.role ~ '<|end_header_id|>\n\n' ~ "
    "turn.content | trim ~ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for turn in messages %}{% if (turn.role == 'user') != (loop.index0 is even) %}"
    "{{ raise_exception('roles have to alternate') }}{% endif %}{% if turn.role == 'user' %}"
    "[INST] {{ turn.content }} [/INST]{% else %} {{ turn.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}"
    "{% for turn in messages %}<start_of_turn>{{ 'model' if turn.role == 'assistant' else turn.role }}\n"
    "{{ turn.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
QWEN3 = (
    "{% for turn in messages %}{{ '<|im_start|>' ~ turn.role ~ '\n' }}{% if turn.role == 'assistant' and loop.last %}"
    "{% set parts = turn.content.split('</think>') %}{{ '<think>\n' ~ (parts[0].replace('<think>', '').strip() "
    "if parts | length > 1 else '') ~ '\n</think>\n\n' ~ parts[-1].lstrip('\n') }}{% else %}"
    "{{ turn.content.split('</think>')[-1].lstrip('\n') }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
# Opens a think block for generation, and leaves it out of finished turns.
THINKING = CHATML.replace("assistant\n'", "assistant\n<think>\n'")


class Family(NamedTuple):
    """A template and the tokens that its tokenizer has: beginning, end of text, end of an assistant's turn."""

    template: str
    begin: str
    end: str
    turn_end: str
    others: tuple[str, ...] = ()


FAMILIES = {
    "chatml": Family(CHATML, "<|im_start|>", "<|im_end|>", "<|im_end|>"),
    "llama3": Family(
        LLAMA3, "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>")
    ),
    "mistral": Family(MISTRAL, "<s>", "</s>", "</s>", ("[INST]", "[/INST]")),
    "gemma": Family(GEMMA, "<bos>", "<eos>", "<end_of_turn>", ("<start_of_turn>",)),
    "qwen3": Family(QWEN3, "<|endoftext|>", "<|im_end|>", "<|im_end|>", ("<think>", "</think>")),
}


def family_tokenizer(name):
    family = FAMILIES[name]
    tokenizer = tiny_tokenizer(family.template)
    tokens = dict.fromkeys((family.begin, family.end, family.turn_end, *family.others))
    tokenizer.add_tokens(
        [AddedToken(token, special="think" not in token) for token in tokens if token not in tokenizer.get_vocab()]
    )
    tokenizer.bos_token, tokenizer.eos_token = family.begin, family.end
    return tokenizer


PROMPT = [{"role": "user", "content": "What should I plant?"}]


def encode(template, completion="Plant beans.", prompt=PROMPT, kind="chat", max_tokens=512, truncation="drop"):
    tokenizer = tiny_tokenizer(template)
    encoder = Encoder(tokenizer, kind, max_tokens, truncation)
    (encoded,) = encoder.encode([prompt], [completion])
    return tokenizer, encoded


def encode_family(name, completion="Plant beans.", prompt=PROMPT, **options):
    tokenizer = family_tokenizer(name)
    (encoded,) = Encoder(tokenizer, "chat", 512, "drop", options).encode([prompt], [completion])
    return tokenizer, encoded


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("turns", [1, 3])
def test_a_completion_is_the_assistants_turn_with_its_end_token_and_nothing_after(name, turns):
    prompt = [
        {"role": ("user", "assistant")[turn % 2], "content": f"What should I plant {turn}?"} for turn in range(turns)
    ]
    tokenizer, encoded = encode_family(name, prompt=prompt)
    turn_end = FAMILIES[name].turn_end
    thought = "<think>\n\n</think>\n\n" if name == "qwen3" else ""
    assert tokenizer.decode(encoded.completion_token_ids).lstrip(" ") == f"{thought}Plant beans.{turn_end}"
    assert encoded.completion_token_ids[-1] == tokenizer.convert_tokens_to_ids(turn_end)
    whole = tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": "Plant beans."}], tokenize=False)
    assert whole.startswith(tokenizer.decode(encoded.prompt_token_ids + encoded.completion_token_ids))
    assert encoded.boundary == "prefix"


def test_qwen3_thinking_is_the_templates_to_write():
    tokenizer, thought = encode_family("qwen3", "<think>\nWarm soil.\n</think>\n\nPlant beans.")
    text = "<think>\nWarm soil.\n</think>\n\nPlant beans.<|im_end|>"
    assert tokenizer.decode(thought.completion_token_ids) == text
    # Told not to think, the template puts the empty block before the answer: into the prompt.
    _, quiet = encode_family("qwen3", enable_thinking=False)
    assert tokenizer.decode(quiet.prompt_token_ids).endswith("assistant\n<think>\n\n</think>\n\n")
    assert tokenizer.decode(quiet.completion_token_ids) == "Plant beans.<|im_end|>"
    assert quiet.boundary == "prefix"


def test_an_answer_apart_ends_as_the_template_ends_a_turn_not_with_the_end_of_text():
    tokenizer = family_tokenizer("gemma")
    tokenizer.chat_template = GEMMA.replace("<start_of_turn>model\n{% endif", "<start_of_turn>model\n[think]{% endif")
    (encoded,) = Encoder(tokenizer, "chat", 512, "drop").encode([PROMPT], ["  Plant beans.  "])
    assert encoded.boundary == "completion_apart"
    assert tokenizer.decode(encoded.completion_token_ids) == "Plant beans.<end_of_turn>"


def test_an_answer_that_the_template_rewrote_is_ended_by_the_template_too():
    shouting = GEMMA.replace("turn.content | trim", "turn.content | upper").replace(
        "model\n{% endif", "model\n!{% endif"
    )
    tokenizer = family_tokenizer("gemma")
    # The word that looks for the end of a turn has to come through.
    tokenizer.chat_template = shouting.replace("| upper", "| replace('beans', 'peas')")
    (encoded,) = Encoder(tokenizer, "chat", 512, "drop").encode([PROMPT], ["Plant beans."])
    assert tokenizer.decode(encoded.completion_token_ids) == "Plant beans.<end_of_turn>"


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("gemma", [{"role": "system", "content": "Be brief."}, *PROMPT]),
        ("mistral", [*PROMPT, *PROMPT]),
    ],
)
def test_a_row_that_the_template_refuses_is_dropped_with_its_reason(name, prompt):
    tokenizer = family_tokenizer(name)
    rows = list(Encoder(tokenizer, "chat", 512, "drop").encode([PROMPT, prompt, PROMPT], ["A.", "B.", "C."]))
    assert [row.drop_reason for row in rows] == [None, "template_refuses", None]
    assert tokenizer.decode(rows[2].completion_token_ids).lstrip().startswith("C.")


def test_a_tokenizer_that_begins_words_with_a_space_adds_none_to_an_answer_apart():
    tokenizer = spaced_tokenizer("{% for turn in messages %}{{ turn.content }}{% endfor %}")
    (encoded,) = Encoder(tokenizer, "chat", 64, "drop").encode([[{"role": "user", "content": "be"}]], ["ans"])
    assert tokenizer.convert_ids_to_tokens(tokenizer("ans", add_special_tokens=False)["input_ids"])[0].startswith("▁")
    assert encoded.boundary == "text_apart"
    assert tokenizer.convert_ids_to_tokens(encoded.completion_token_ids) == ["ans"]


def spaced_tokenizer(template):
    """SentencePiece's manner: every first word of a text gets a space."""
    pieces = ["<s>", "</s>", "▁", "a", "n", "s", "b", "e", "▁be", "ans", "▁ans", "▁beans", "be", "beans"]
    merges = [("▁", "be"), ("b", "e"), ("a", "n"), ("an", "s"), ("▁", "ans"), ("▁be", "ans"), ("be", "ans")]
    model = models.BPE(
        vocab={piece: number for number, piece in enumerate([*pieces, "an"])}, merges=merges[1:] + merges[:1]
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = template
    return fast


@pytest.mark.parametrize("completion", ["", "  ", "\n"])
@pytest.mark.parametrize("name", FAMILIES)
def test_an_empty_completion_is_dropped_whatever_the_template_puts_around_it(name, completion):
    assert encode_family(name, completion)[1].drop_reason == "empty_completion"


def test_a_template_that_writes_the_date_is_said_to_change_daily(tmp_path, caplog):
    tokenizer = family_tokenizer("llama3")
    tokenizer.chat_template = "{{ date_string if date_string is defined else strftime_now('%d') }}" + LLAMA3
    tokenizer.save_pretrained(tmp_path)
    load_encoder(tmp_path, "chat", 512, "drop")
    assert "writes today's date" in caplog.text
    caplog.clear()
    encoder = load_encoder(tmp_path, "chat", 512, "drop", {"date_string": "01 Jan 2026"})
    assert not caplog.records
    (encoded,) = encoder.encode([PROMPT], ["Plant beans."])
    assert tokenizer.decode(encoded.prompt_token_ids).startswith("01 Jan 2026")


def test_a_template_that_rewrites_the_prompt_is_tokenised_apart_and_says_so():
    tokenizer, encoded = encode(THINKING)
    assert encoded.boundary == "completion_apart"
    assert tokenizer.decode(encoded.prompt_token_ids).endswith("<think>\n")
    assert tokenizer.decode(encoded.completion_token_ids) == "Plant beans.<|im_end|>"


def test_a_merge_across_the_boundary_is_tokenised_apart():
    # Without a token between prompt and completion, "be" + "ans" would merge into one token of "beans".
    joined = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer, encoded = encode(joined, completion="ans", prompt=[{"role": "user", "content": "Plant be"}])
    assert tokenizer("Plant beans")["input_ids"] != tokenizer("Plant be")["input_ids"] + tokenizer("ans")["input_ids"]
    assert encoded.boundary == "text_apart"
    assert tokenizer.decode(encoded.completion_token_ids) == "ans"


def test_plain_joins_texts_and_ends_with_the_end_token():
    tokenizer, encoded = encode(None, kind="plain", completion=" Plant beans.")
    assert tokenizer.decode(encoded.prompt_token_ids) == "<|im_start|>What should I plant?"
    assert tokenizer.decode(encoded.completion_token_ids) == " Plant beans.<|im_end|>"


def test_chat_without_a_template_is_refused_with_advice():
    with pytest.raises(InputError, match="has no chat template.*sequences.template to 'plain'"):
        encode(None)


def test_truncation_rules():
    _, whole = encode(CHATML)
    prompt, completion = whole.prompt_token_ids, whole.completion_token_ids
    limit = len(prompt) + len(completion) - 3
    assert encode(CHATML, max_tokens=limit)[1].drop_reason == "too_long"
    _, end = encode(CHATML, max_tokens=limit, truncation="keep_end")
    assert (end.prompt_token_ids, end.completion_token_ids, end.cut) == (prompt[3:], completion, 3)
    _, start = encode(CHATML, max_tokens=limit, truncation="keep_start")
    assert (start.prompt_token_ids, start.completion_token_ids, start.cut) == (prompt, completion[:-3], 3)
    assert encode(CHATML, max_tokens=len(completion), truncation="keep_end")[1].drop_reason == "too_long"


def test_a_conversation_that_the_model_opened_has_no_prompt_to_score_after():
    assert encode(CHATML, prompt=[])[1].drop_reason == "empty_prompt"
