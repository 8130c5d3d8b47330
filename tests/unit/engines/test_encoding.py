import pytest

from pipeline.engines.encoding import Encoder
from pipeline.errors import InputError
from tests.tiny import CHATML, tiny_tokenizer

LLAMA3 = (
    "{{ '<|im_start|>' }}{% for message in messages %}{{ '[H]' + message['role'] + '[/H]\n\n' + "
    "(message['content'] | trim) + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[H]assistant[/H]\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ '<|im_start|>' }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + '[/INST]' }}{% else %}"
    "{{ ' ' + message['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ '<|im_start|>' }}{% for message in messages %}{{ '[turn]' + ('model' if message['role'] == 'assistant' else "
    "message['role']) + '\n' + message['content'] | trim + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[turn]model\n' }}{% endif %}"
)
# Opens a think block for generation, and leaves it out of finished turns.
THINKING = CHATML.replace("assistant\n'", "assistant\n<think>\n'")
PROMPT = [{"role": "user", "content": "What should I plant?"}]


def encode(template, completion="Plant beans.", prompt=PROMPT, kind="chat", max_tokens=512, truncation="drop"):
    tokenizer = tiny_tokenizer(template)
    encoder = Encoder(tokenizer, kind, max_tokens, truncation)
    (encoded,) = encoder.encode([prompt], [completion])
    return tokenizer, encoded


@pytest.mark.parametrize("template", [CHATML, LLAMA3, MISTRAL, GEMMA], ids=["chatml", "llama3", "mistral", "gemma"])
def test_a_completion_is_the_assistants_turn_with_its_end_token_and_nothing_after(template):
    tokenizer, encoded = encode(template)
    assert tokenizer.decode(encoded.completion_token_ids).strip() == "Plant beans.<|im_end|>"
    assert encoded.completion_token_ids[-1] == tokenizer.eos_token_id
    whole = tokenizer.apply_chat_template([*PROMPT, {"role": "assistant", "content": "Plant beans."}], tokenize=False)
    assert whole.startswith(tokenizer.decode(encoded.prompt_token_ids + encoded.completion_token_ids))
    assert encoded.boundary == "prefix"


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


def test_an_empty_completion_is_dropped_with_its_reason():
    assert encode(CHATML, completion="")[1].drop_reason == "empty_completion"


def test_a_conversation_that_the_model_opened_has_no_prompt_to_score_after():
    assert encode(CHATML, prompt=[])[1].drop_reason == "empty_prompt"
