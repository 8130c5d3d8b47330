"""Each target's lines, key by key, and what it cannot take with its reason."""

import json

import pytest

from tests.export_rules import RULES
from thumbline.pipeline.dataset.rows import Pair, Rated
from thumbline.pipeline.dataset.targets.base import CannotTakeError
from thumbline.pipeline.dataset.targets.registry import TARGETS, find_target
from thumbline.pipeline.errors import ConfigError


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


ASKED = [turn("system", "Be brief."), turn("user", "When do I sow peas?")]
EARLY, LATE = turn("assistant", "In March."), turn("assistant", "In May.")
PAIR = Pair(ASKED, [], EARLY, LATE)
RATED = Rated(ASKED, [], EARLY, True)
TOOL = {"type": "function", "function": {"name": "frost", "parameters": {"type": "object", "properties": {}}}}
CALL = turn("assistant", "", tool_calls=[{"type": "function", "function": {"name": "frost", "arguments": {"n": 1}}}])
TOLD = [*ASKED, CALL, turn("tool", "none", name="frost")]
THINKING = turn("assistant", "In March.", reasoning_content="Peas like it cool.")
SERVICES = ("openai", "together", "fireworks", "vertex", "nova", "sagemaker", "nemo-rl")


def line(target, row):
    return TARGETS[target].line(row)


def reason(target, row):
    with pytest.raises(CannotTakeError) as caught:
        line(target, row)
    return caught.value.reason


def test_the_rules_are_those_of_every_target():
    assert set(RULES) == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_a_pair_with_a_system_turn_is_taken_by_every_target(target):
    made = line(target, PAIR)
    assert made.part == ""
    RULES[target](made.content)
    assert "In March." in json.dumps(made.content) and "Be brief." in json.dumps(made.content)


@pytest.mark.parametrize("target", TARGETS)
def test_answers_that_differ_in_the_ids_of_calls_alone_are_no_preference(target):
    first, second = ({**CALL, "tool_calls": [{"id": name, **CALL["tool_calls"][0]}]} for name in ("a", "b"))
    assert reason(target, Pair(ASKED, [TOOL], first, second)) == "answers_alike"


def test_openai_together_and_fireworks_share_a_line():
    shared = {
        "input": {"messages": ASKED},
        "preferred_output": [EARLY],
        "non_preferred_output": [LATE],
    }
    assert line("openai", PAIR).content == line("together", PAIR).content == line("fireworks", PAIR).content == shared


def test_vertex_has_contents_and_completions_with_scores():
    assert line("vertex", PAIR).content == {
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "When do I sow peas?"}]}],
        "completions": [
            {"score": 1, "completion": {"role": "model", "parts": [{"text": "In March."}]}},
            {"score": 0, "completion": {"role": "model", "parts": [{"text": "In May."}]}},
        ],
    }


def test_nova_has_candidates_with_labels_as_its_last_turn():
    assert line("nova", PAIR).content == {
        "schemaVersion": "bedrock-conversation-2024",
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"text": "When do I sow peas?"}]},
            {
                "role": "assistant",
                "candidates": [
                    {"content": [{"text": "In March."}], "preferenceLabel": "preferred"},
                    {"content": [{"text": "In May."}], "preferenceLabel": "non-preferred"},
                ],
            },
        ],
    }


def test_sagemaker_has_both_conversations_whole():
    assert line("sagemaker", PAIR).content == {"chosen": [*ASKED, EARLY], "rejected": [*ASKED, LATE]}


def test_nemo_rl_has_a_context_and_ranked_completions():
    ranked = [{"rank": 0, "completion": [EARLY]}, {"rank": 1, "completion": [LATE]}]
    assert line("nemo-rl", PAIR).content == {"context": ASKED, "completions": ranked}


def test_llama_factory_has_system_and_tools_beside_the_turns():
    assert line("llama-factory", PAIR).content == {
        "messages": ASKED[1:],
        "system": "Be brief.",
        "tools": "",
        "chosen": EARLY,
        "rejected": LATE,
    }
    rated = line("llama-factory", RATED).content
    assert (rated["messages"], rated["label"]) == ([ASKED[1], EARLY], True)


def test_ms_swift_ends_with_the_better_answer_and_holds_the_other_as_text():
    assert line("ms-swift", PAIR).content == {"messages": [*ASKED, EARLY], "rejected_response": "In May."}
    assert line("ms-swift", RATED).content == {"messages": [*ASKED, EARLY], "label": True}


def test_axolotl_has_one_message_a_side_and_texts_for_kto():
    assert line("axolotl", PAIR).content == {"messages": ASKED, "chosen": EARLY, "rejected": LATE}
    assert line("axolotl", RATED).content == {
        "system": "Be brief.",
        "prompt": "When do I sow peas?",
        "completion": "In March.",
        "label": True,
    }
    assert reason("axolotl", RATED._replace(prompt=[*ASKED, EARLY, turn("user", "And beans?")])) == "several_turns"


@pytest.mark.parametrize("target", SERVICES)
def test_services_take_no_unpaired_rows(target):
    assert TARGETS[target].kinds == ("pairs",)
    assert reason(target, RATED) == "kind"


# Tools


def test_openai_gets_tools_and_calls_with_ids_that_results_refer_to():
    made = line("openai", Pair(TOLD, [TOOL], EARLY, CALL)).content
    RULES["openai"](made)
    assert made["input"]["tools"][0]["function"]["name"] == "frost" and made["input"]["parallel_tool_calls"] is True
    call = made["input"]["messages"][2]["tool_calls"][0]
    assert call == {"id": "call_0", "type": "function", "function": {"name": "frost", "arguments": '{"n": 1}'}}
    assert made["input"]["messages"][3] == {"role": "tool", "content": "none", "tool_call_id": "call_0"}
    assert made["non_preferred_output"][0]["content"] is None
    assert made["non_preferred_output"][0]["tool_calls"][0]["id"] == "call_1"


def test_arguments_that_a_model_wrote_wrong_go_to_openai_as_they_are_and_nowhere_as_json():
    wrong = turn("assistant", "", tool_calls=[{"id": "a", "function": {"name": "frost", "arguments": '{"n": '}}])
    made = line("openai", Pair(ASKED, [TOOL], EARLY, wrong)).content
    assert made["non_preferred_output"][0]["tool_calls"][0]["function"]["arguments"] == '{"n": '
    for target in ("llama-factory", "ms-swift"):
        assert reason(target, Pair(ASKED, [TOOL], EARLY, wrong)) == "tool_arguments"


def test_tools_are_as_they_were_logged_or_put_into_openais_form():
    logged = {"type": "function", "function": {"name": "frost", "parameters": {"type": "object"}, "strict": True}}
    plain = {"name": "frost", "description": "Frost?", "input_schema": {"type": "object"}}
    made = line("openai", PAIR._replace(tools=[logged, plain])).content["input"]["tools"]
    assert made[0] == logged
    function = {"name": "frost", "description": "Frost?", "parameters": {"type": "object"}}
    assert made[1] == {"type": "function", "function": function}


def test_the_name_of_a_result_goes_where_templates_read_it():
    told = [*TOLD[:-1], turn("tool", "none", name="frost")]
    assert line("axolotl", Pair(told, [TOOL], EARLY, LATE)).content["messages"][-1]["name"] == "frost"
    assert "name" not in line("openai", Pair(told, [TOOL], EARLY, LATE)).content["input"]["messages"][-1]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (Pair(TOLD, [], EARLY, LATE), "tools_not_listed"),
        (Pair(TOLD[:-1], [TOOL], EARLY, LATE), "last_turn"),
        (Pair([*TOLD[:-1], turn("user", "Well?")], [TOOL], EARLY, LATE), "tool_calls_unanswered"),
        (Pair([*ASKED, turn("tool", "none")], [TOOL], EARLY, LATE), "tool_calls_unanswered"),
        (Pair(ASKED, ["frost"], EARLY, LATE), "tools_not_functions"),
        (Pair(ASKED, [TOOL], EARLY, turn("assistant", "", tool_calls=["frost"])), "tool_calls_unknown"),
    ],
)
def test_openai_refuses_tools_that_do_not_go_together(row, why):
    assert reason("openai", row) == why


@pytest.mark.parametrize("target", [name for name in SERVICES if name != "openai"])
def test_services_without_a_field_for_tools_refuse_them(target):
    assert reason(target, PAIR._replace(tools=[TOOL])) == "tools"
    assert reason(target, PAIR._replace(rejected=CALL)) == "tools"


@pytest.mark.parametrize("target", SERVICES)
def test_services_without_a_field_for_thoughts_refuse_them(target):
    assert reason(target, PAIR._replace(chosen=THINKING)) == "reasoning"


def test_llama_factory_has_calls_as_json_of_their_own_role():
    made = line("llama-factory", Pair(TOLD, [TOOL], EARLY, CALL)).content
    RULES["llama-factory"](made)
    assert [message["role"] for message in made["messages"]] == ["user", "function_call", "observation"]
    assert made["rejected"] == {"role": "function_call", "content": '{"name": "frost", "arguments": {"n": 1}}'}
    assert json.loads(made["tools"])[0]["name"] == "frost"
    two = turn("assistant", "", tool_calls=CALL["tool_calls"] * 2)
    both = [*ASKED, two, turn("tool", "a"), turn("tool", "b")]
    assert reason("llama-factory", Pair(both, [TOOL], EARLY, LATE)) == "several_tool_results"
    said = {**CALL, "content": "Let me look."}
    assert reason("llama-factory", Pair(ASKED, [TOOL], EARLY, said)) == "text_beside_tool_calls"


def test_ms_swift_has_rows_with_tools_in_a_file_of_their_own_with_both_conversations():
    made = line("ms-swift", Pair(TOLD, [TOOL], EARLY, CALL))
    RULES["ms-swift"](made.content)
    assert made.part == "tools"
    assert [message["role"] for message in made.content["rejected_messages"]] == [
        "system",
        "user",
        "tool_call",
        "tool_response",
        "tool_call",
    ]
    assert made.content["tools"] == made.content["rejected_tools"]


def test_axolotl_has_rows_with_tools_or_thoughts_in_a_file_of_their_own():
    made = line("axolotl", Pair(TOLD, [TOOL], EARLY, THINKING))
    RULES["axolotl"](made.content)
    assert made.part == "tools" and made.content["rejected"]["reasoning_content"] == "Peas like it cool."
    assert reason("axolotl", RATED._replace(tools=[TOOL])) == "tools"


@pytest.mark.parametrize("target", ["llama-factory", "ms-swift"])
def test_thoughts_stand_before_the_text_where_there_is_no_field_for_them(target):
    made = json.dumps(line(target, PAIR._replace(chosen=THINKING)).content)
    assert r"<think>\nPeas like it cool.\n</think>\n\nIn March." in made


# Turns


@pytest.mark.parametrize("target", SERVICES)
def test_a_prompt_that_ends_with_the_assistant_is_refused(target):
    assert reason(target, PAIR._replace(prompt=[*ASKED, EARLY])) == "last_turn"


@pytest.mark.parametrize("target", ["together", "fireworks", "vertex", "nova", "sagemaker", "llama-factory"])
def test_a_later_system_turn_is_refused_where_it_must_be_first(target):
    late = [ASKED[1], EARLY, turn("system", "Be kind."), turn("user", "And beans?")]
    assert reason(target, PAIR._replace(prompt=late)) == "system_turn_later"


@pytest.mark.parametrize("target", ["together", "vertex", "nova", "llama-factory"])
def test_two_turns_of_one_role_are_refused_where_roles_alternate(target):
    assert reason(target, PAIR._replace(prompt=[*ASKED, turn("user", "Hello?")])) == "roles_do_not_alternate"


@pytest.mark.parametrize("target", ["vertex", "nova"])
def test_a_first_turn_of_the_assistant_is_refused_where_the_user_begins(target):
    assert reason(target, PAIR._replace(prompt=[EARLY, ASKED[1]])) == "first_turn"


@pytest.mark.parametrize("target", TARGETS)
def test_an_unknown_role_is_refused(target):
    assert reason(target, PAIR._replace(prompt=[turn("critic", "Hm."), ASKED[1]])) in {"role", "first_turn"}


@pytest.mark.parametrize("target", TARGETS)
def test_a_blank_turn_is_refused(target):
    assert reason(target, PAIR._replace(prompt=[turn("user", " \n")])) == "empty_message"


@pytest.mark.parametrize("word", ["User:", "Bot:", "Assistant:", "System:", "<image>", "<video>", "[EOS]"])
def test_nova_refuses_its_reserved_words_in_prompts_and_not_in_answers(word):
    assert reason("nova", PAIR._replace(prompt=[turn("user", f"Say {word} please")])) == "reserved_words"
    RULES["nova"](line("nova", PAIR._replace(rejected=turn("assistant", f"{word} no"))).content)


def test_a_key_that_no_field_holds_is_refused_and_not_dropped():
    named = [turn("user", "When?", name="ann")]
    assert reason("together", PAIR._replace(prompt=named)) == "message_key"
    assert line("openai", PAIR._replace(prompt=named)).content["input"]["messages"][0]["name"] == "ann"


def test_an_unknown_target_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown target 'opnai'. Did you mean 'openai'"):
        find_target("opnai")
    assert find_target("trl") is None
