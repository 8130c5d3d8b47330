"""Tools, calls and thoughts reach the template in the form that it reads, or the row is dropped with a reason."""

import json

import pytest

from tests.chat_templates import CALLS_PART, THOUGHT_PART, TOOLS_PART, template
from tests.tiny import CHATML, tiny_tokenizer
from thumbline.pipeline.engines.encoding import Encoder
from thumbline.pipeline.engines.messages import Form, for_template, with_system_in_user_turns

PROMPT = [{"role": "user", "content": "How is the west field?"}]
TOOLS = json.dumps([{"type": "function", "function": {"name": "soil_report", "parameters": {}}}])


def calls(arguments='{"field": "west"}', name="soil_report"):
    return json.dumps({"tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}]})


CALLING = {"role": "assistant", "content": "", "extra": calls()}


def encode(written, *, prompt=PROMPT, completion="Wet.", extra=None, tools=None, kind="chat", **options):
    tokenizer = tiny_tokenizer(written)
    encoder = Encoder(tokenizer, kind, 2048, "drop", **options)
    (encoded,) = encoder.encode([prompt], [completion], [extra], [tools])
    return tokenizer.decode(encoded.completion_token_ids), encoded


OBJECTS = CALLS_PART.replace("ARGUMENTS", "{{ call.function.arguments | tojson }}")
ITEMS = CALLS_PART.replace("ARGUMENTS", "{% for k, v in call.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}")
TEXT = CALLS_PART.replace("ARGUMENTS", "{{ 'json ' + call.function.arguments }}")
BARE = CALLS_PART.replace("ARGUMENTS", "{{ call.function.arguments }}")


@pytest.mark.parametrize("given", ['{"field": "west"}', {"field": "west"}])
@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (OBJECTS, '<call>soil_report {"field": "west"}</call><|im_end|>'),
        (ITEMS, "<call>soil_report field=west</call><|im_end|>"),
        (TEXT, '<call>soil_report json {"field": "west"}</call><|im_end|>'),
        (BARE, '<call>soil_report {"field": "west"}</call><|im_end|>'),
    ],
)
def test_a_calls_arguments_are_what_the_template_reads_whatever_the_log_has(part, expected, given):
    text, encoded = encode(template(part), completion="", extra=calls(given))
    assert encoded.drop_reason is None
    assert text == expected


def test_arguments_keep_the_order_in_which_the_model_wrote_them():
    text, _ = encode(template(OBJECTS), completion="", extra=calls('{"z": 1, "a": 2}'))
    assert '{"z": 1, "a": 2}' in text


def test_a_template_that_wants_no_content_beside_a_call_is_given_none():
    # In the manner of DeepSeek: what has a text calls nothing.
    written = template(OBJECTS, condition="turn.content is none", content="turn.content or ''")
    text, encoded = encode(written, completion="", extra=calls())
    assert (text, encoded.drop_reason) == ('<call>soil_report {"field": "west"}</call><|im_end|>', None)
    _, lost = encode(written, completion="Let me look.", extra=calls())
    assert lost.drop_reason == "tool_calls_not_written"
    assert lost.detail == "the chat template does not write the tool calls of turn 2"


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("given", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_are_given_under_the_name_that_the_template_reads(key, given):
    text, _ = encode(template(THOUGHT_PART.replace("KEY", key)), extra=json.dumps({given: "Clay holds water."}))
    assert text == "<think>Clay holds water.</think>Wet.<|im_end|>"


@pytest.mark.parametrize("kind", ["chat", "plain"])
@pytest.mark.parametrize(
    ("reason", "row"),
    [
        ("tools_not_written", {"tools": TOOLS}),
        ("tool_calls_not_written", {"extra": calls()}),
        ("tool_calls_not_written", {"extra": calls(name=None)}),
        ("reasoning_not_written", {"extra": json.dumps({"thinking": "Clay."})}),
        (
            "tool_calls_not_written",
            {"prompt": [*PROMPT, {"role": "assistant", "content": "", "extra": calls()}, *PROMPT]},
        ),
    ],
)
def test_what_a_template_does_not_write_drops_the_row(kind, reason, row):
    assert encode(CHATML, kind=kind, **row)[1].drop_reason == reason


def test_what_a_template_writes_drops_nothing():
    written = template(TOOLS_PART, OBJECTS, THOUGHT_PART.replace("KEY", "reasoning_content"))
    extra = json.dumps({**json.loads(calls()), "reasoning_content": "Clay."})
    text, encoded = encode(written, extra=extra, tools=TOOLS)
    # This template writes thoughts after the calls, where they are no beginning.
    assert (encoded.drop_reason, encoded.noticed) == (None, ("thought_inside",))
    assert text.startswith('<call>soil_report {"field": "west"}</call><think>Clay.</think>Wet.')
    assert encode(CHATML, tools="[]")[1].drop_reason is None


@pytest.mark.parametrize("kind", ["chat", "plain"])
def test_thoughts_of_earlier_turns_and_names_that_are_left_out_are_noticed(kind):
    thought = {"role": "assistant", "content": "Dry.", "extra": json.dumps({"reasoning": "It did not rain."})}
    named = {"role": "user", "content": "And now?", "extra": json.dumps({"name": "Ada"})}
    _, encoded = encode(CHATML, prompt=[*PROMPT, thought, named], kind=kind)
    assert encoded.drop_reason is None
    assert encoded.noticed == ("earlier_reasoning_left_out", "name_left_out")
    result = {"role": "tool", "content": "clay", "extra": json.dumps({"name": "soil_report", "tool_call_id": "1"})}
    assert encode(CHATML, prompt=[*PROMPT, result])[1].noticed == ()


def test_a_prompts_text_that_the_template_leaves_out_is_noticed():
    no_system = CHATML.replace("in messages", "in messages if message.role != 'system'")
    assert encode(no_system, prompt=[{"role": "system", "content": "Be brief."}, *PROMPT])[1].noticed == (
        "prompt_rewritten",
    )


def test_texts_are_lists_of_one_part_for_a_template_that_takes_no_other():
    parts = template(content="turn.content[0].text")
    text, encoded = encode(parts)
    assert (text, encoded.drop_reason, encoded.noticed) == ("Wet.<|im_end|>", None, ())


def test_an_answer_without_text_is_empty_but_for_one_that_calls_a_tool():
    assert encode(template(OBJECTS), completion="")[1].drop_reason == "empty_completion"
    assert (
        encode(template(OBJECTS), completion="", extra=json.dumps({"name": "bot"}))[1].drop_reason == "empty_completion"
    )
    assert encode(template(OBJECTS), completion="", extra=calls())[1].drop_reason is None


def test_each_system_text_stands_before_the_users_turn_that_follows_it():
    turns = [("system", "One."), ("developer", "Two."), ("user", "A"), ("assistant", "B"), ("system", "Three.")]
    found = with_system_in_user_turns([{"role": role, "content": text} for role, text in turns])
    assert [(turn["role"], turn["content"]) for turn in found] == [
        ("user", "One.\n\nTwo.\n\nA"),
        ("assistant", "B"),
        ("user", "Three."),
    ]


def test_a_message_is_given_to_the_template_with_its_other_keys():
    message = {"role": "tool", "content": "clay", "extra": '{"name":"soil_report","tool_call_id":"1"}'}
    given = {"role": "tool", "content": "clay", "name": "soil_report", "tool_call_id": "1"}
    assert for_template(message, Form()) == given
    assert for_template({"role": "user", "content": "Hi", "extra": None}, Form()) == {"role": "user", "content": "Hi"}
