import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.chat_templates import FAMILIES, LLAMA3, THINKING, family_tokenizer
from tests.tiny import CHATML, tiny_tokenizer
from thumbline.pipeline.engines.encoding import Encoder, load_encoder
from thumbline.pipeline.errors import InputError

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


# Writes the system text into the user's last turn, and only while that is the last turn of all.
SYSTEM_LAST = (
    "{{ bos_token }}{% set system = messages[0].content %}{% for turn in messages[1:] %}{% if turn.role == 'user' %}"
    "[INST] {% if loop.last %}{{ system }}\n\n{% endif %}{{ turn.content }} [/INST]{% else %} "
    "{{ turn.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)


def test_a_template_that_rewrites_earlier_turns_once_they_are_answered_gives_the_prompt_that_the_model_saw():
    tokenizer = family_tokenizer("mistral")
    tokenizer.chat_template = SYSTEM_LAST
    prompt = [{"role": "system", "content": "Be brief."}, *PROMPT]
    (encoded,) = Encoder(tokenizer, "chat", 512, "drop").encode([prompt], ["  Plant beans.  "])
    assert encoded.boundary == "apart"
    assert tokenizer.decode(encoded.prompt_token_ids) == "<s>[INST] Be brief.\n\nWhat should I plant? [/INST]"
    assert tokenizer.decode(encoded.completion_token_ids) == "Plant beans.</s>"


def test_an_answer_apart_that_the_template_rewrote_is_ended_by_the_template_too():
    tokenizer = family_tokenizer("mistral")
    tokenizer.chat_template = SYSTEM_LAST.replace("| trim", "| replace('beans', 'peas')")
    prompt = [{"role": "system", "content": "Be brief."}, *PROMPT]
    (encoded,) = Encoder(tokenizer, "chat", 512, "drop").encode([prompt], ["Plant beans."])
    assert tokenizer.decode(encoded.completion_token_ids) == "Plant beans.</s>"
    assert "answer_rewritten" not in encoded.noticed


def test_an_answer_that_the_template_changes_is_noticed():
    tokenizer = tiny_tokenizer(CHATML.replace("message['content']", "message['content'] | replace('beans', 'peas')"))
    rows = list(Encoder(tokenizer, "chat", 512, "drop").encode([PROMPT] * 2, ["Plant beans.", "Plant  maize. "]))
    assert tokenizer.decode(rows[0].completion_token_ids) == "Plant peas.<|im_end|>"
    assert [row.noticed for row in rows] == [("answer_rewritten",), ()]


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
    assert rows[1].detail == {"gemma": "no system turn here", "mistral": "roles have to alternate"}[name]
    assert tokenizer.decode(rows[2].completion_token_ids).lstrip().startswith("C.")


def test_where_no_token_of_the_prompt_is_left_the_answer_is_tokenised_apart_without_a_space_of_its_own():
    tokenizer = spaced_tokenizer("{% for turn in messages %}{{ turn.content }}{% endfor %}")
    (encoded,) = Encoder(tokenizer, "chat", 64, "drop").encode([[{"role": "user", "content": "be"}]], ["ans"])
    assert tokenizer.convert_ids_to_tokens(tokenizer("ans", add_special_tokens=False)["input_ids"])[0].startswith("▁")
    assert encoded.boundary == "apart"
    assert tokenizer.convert_ids_to_tokens(encoded.prompt_token_ids) == ["▁be"]
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


def test_a_prompt_ends_before_the_thought_that_is_opened_for_generation_alone():
    tokenizer, encoded = encode(THINKING)
    assert encoded.boundary == "shortened"
    text = "<|im_start|>user\nWhat should I plant?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(encoded.prompt_token_ids) == text
    assert tokenizer.decode(encoded.completion_token_ids) == "Plant beans.<|im_end|>"


def test_a_thought_that_the_template_opens_is_opened_once():
    tokenizer, encoded = encode(THINKING, "<think>\nWarm soil.\n</think>\n\nPlant beans.")
    assert encoded.boundary == "prefix" and encoded.noticed == ("thought_kept",)
    assert tokenizer.decode(encoded.prompt_token_ids).endswith("assistant\n<think>\n")
    assert tokenizer.decode(encoded.completion_token_ids) == "Warm soil.\n</think>\n\nPlant beans.<|im_end|>"


def test_answers_to_one_prompt_continue_the_same_tokens():
    encoder = Encoder(tiny_tokenizer(THINKING), "chat", 512, "drop")
    answers = ["<think>\nWarm soil.\n</think>\n\nPlant beans.", "Plant beans.", " "]
    alone = list(encoder.encode([PROMPT] * 3, answers))
    together = list(encoder.encode([PROMPT] * 3, answers, groups=[0, 0, 0]))
    assert len(alone[0].prompt_token_ids) > len(alone[1].prompt_token_ids) > 0
    assert together[0].prompt_token_ids == together[1].prompt_token_ids == alone[1].prompt_token_ids
    whole = alone[0].prompt_token_ids + alone[0].completion_token_ids
    assert together[0].prompt_token_ids + together[0].completion_token_ids == whole
    assert [row.boundary for row in together[:2]] == ["shortened"] * 2
    # Neither another prompt's answers nor those of another group have a say.
    other = [{"role": "user", "content": "What should I sow?"}]
    assert next(encoder.encode([other, PROMPT], answers[:2], groups=[0, 0])).boundary == "prefix"
    assert next(encoder.encode([PROMPT] * 2, answers[:2], groups=[0, 1])) == alone[0]


def test_groups_larger_than_a_call_to_the_tokenizer_are_one_group():
    encoder = Encoder(tiny_tokenizer(THINKING), "chat", 512, "drop")
    thoughts = [f"<think>\n{number}\n</think>\n\nYes." for number in range(1300)]
    rows = list(encoder.encode([PROMPT] * 1301, [*thoughts, "Yes."], groups=[0] * 1301))
    assert len({tuple(row.prompt_token_ids) for row in rows}) == 1
    assert {row.boundary for row in rows} == {"shortened"}


def test_where_tokens_merge_across_the_boundary_the_completion_begins_with_the_merged_token():
    # Without a token between prompt and completion, "be" + "ans" merge into one token of "beans".
    joined = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer, encoded = encode(joined, completion="ans", prompt=[{"role": "user", "content": "Plant be"}])
    whole = tokenizer("Plant beans")["input_ids"]
    assert whole != tokenizer("Plant be")["input_ids"] + tokenizer("ans")["input_ids"]
    assert encoded.boundary == "shortened"
    assert encoded.prompt_token_ids + encoded.completion_token_ids == whole
    assert tokenizer.decode(encoded.completion_token_ids) == " beans"


def test_plain_joins_texts_and_ends_with_the_end_token():
    tokenizer, encoded = encode(None, kind="plain", completion=" Plant beans.")
    assert tokenizer.decode(encoded.prompt_token_ids) == "What should I plant?"
    assert tokenizer.decode(encoded.completion_token_ids) == " Plant beans.<|im_end|>"


def beginning_tokenizer():
    """Puts its begin token before every text, as Llama's and Gemma's tokenizers do."""
    tokenizer = tiny_tokenizer(None)
    begin = ("<|im_start|>", tokenizer.convert_tokens_to_ids("<|im_start|>"))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|im_end|>", special_tokens=[begin, ("<|im_end|>", tokenizer.eos_token_id)]
    )
    return tokenizer


@pytest.mark.parametrize("given", ["What should I plant?", "<|im_start|>What should I plant?"])
@pytest.mark.parametrize("answer", ["Plant beans.", "Plant beans.<|im_end|>", "Plant beans.<|im_end|>\n"])
def test_plain_texts_begin_and_end_once_as_their_tokenizer_begins_and_ends_them(given, answer):
    tokenizer = beginning_tokenizer()
    encoder = Encoder(tokenizer, "plain", 512, "drop")
    (encoded,) = encoder.encode([[{"role": "user", "content": given}]], [answer])
    assert tokenizer.decode(encoded.prompt_token_ids) == "<|im_start|>What should I plant?"
    assert tokenizer.decode(encoded.completion_token_ids) == "Plant beans.<|im_end|>"
    assert ("begin_token_given" in encoded.noticed) == ("<" in given)
    assert ("end_token_given" in encoded.noticed) == ("<" in answer)


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


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("space", ["", "\n", " \n"])
def test_an_answer_that_has_its_end_token_gets_no_second_one(name, space):
    end = FAMILIES[name].turn_end
    tokenizer, given = encode_family(name, f"Plant beans.{space}{end}{space}")
    assert given.completion_token_ids == encode_family(name)[1].completion_token_ids
    assert given.completion_token_ids.count(tokenizer.convert_tokens_to_ids(end)) == 1
    assert given.noticed == ("end_token_given",)
    text_end = FAMILIES[name].end
    assert encode_family(name, f"Plant beans.{text_end}")[1].completion_token_ids == given.completion_token_ids
    assert encode_family(name, end)[1].drop_reason == "empty_completion"


def test_an_end_token_that_the_template_does_not_write_stays():
    tokenizer = tiny_tokenizer("{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}")
    (encoded,) = Encoder(tokenizer, "chat", 512, "drop").encode([PROMPT], ["Plant beans.<|im_end|>"])
    assert tokenizer.decode(encoded.completion_token_ids).endswith("Plant beans.<|im_end|>")


def test_control_tokens_inside_texts_are_noticed():
    tokenizer = tiny_tokenizer()
    asking = [{"role": "user", "content": "What does <|im_end|> do?"}]
    rows = list(Encoder(tokenizer, "chat", 512, "drop").encode([PROMPT, asking, PROMPT], ["A <|im_end|> B", "C", "D"]))
    assert [row.noticed for row in rows] == [("control_tokens",), ("control_tokens",), ()]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_that_was_written_in_the_template_before_is_noticed(name):
    tokenizer = family_tokenizer(name)
    text = tokenizer.apply_chat_template(PROMPT, tokenize=False, add_generation_prompt=True)
    for written in (text, text.removeprefix(tokenizer.bos_token)):
        (encoded,) = Encoder(tokenizer, "chat", 512, "drop").encode([[{"role": "user", "content": written}]], ["A."])
        assert "rendered_prompt" in encoded.noticed
    assert "rendered_prompt" not in encode_family(name)[1].noticed


def test_a_prompt_in_another_models_template_is_noticed_though_its_tokens_are_none_of_this_model():
    prompt = [{"role": "user", "content": "[INST] What should I plant? [/INST]"}]
    assert encode(CHATML, prompt=prompt)[1].noticed == ("rendered_prompt",)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 / 0 }}",
        "{{ messages[0].content + 1 }}",
        "{% include 'other' %}",
        "{{ range(1000000000) | list }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ messages[0].content.",
        "{{ ''.__class__.__subclasses__() }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_whatever_a_template_raises_is_a_dropped_row_with_its_words(template):
    encoded = encode(template)[1]
    assert encoded.drop_reason == "template_refuses"
    assert encoded.detail


def test_system_turns_stand_before_the_users_text_where_that_is_asked_for():
    tokenizer = family_tokenizer("gemma")
    encoder = Encoder(tokenizer, "chat", 512, "drop", system="first_user")
    prompt = [{"role": "system", "content": "Be brief."}, *PROMPT]
    moved, usual = encoder.encode([prompt, PROMPT], ["Beans."] * 2)
    joined = [{"role": "user", "content": "Be brief.\n\nWhat should I plant?"}]
    (expected,) = encoder.encode([joined], ["Beans."])
    assert moved[:2] == expected[:2] and moved.drop_reason is None
    assert (moved.noticed, usual.noticed) == (("system_moved",), ())
