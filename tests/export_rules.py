"""What each target says of its lines, written down a second time: each function fails where a line breaks a rule.

Sources are those that the modules of `pipeline/dataset/targets` name.
"""

import json

SERVICE_ROLES = {"system", "user", "assistant"}


def openai(line):
    assert set(line) == {"input", "preferred_output", "non_preferred_output"}
    given = line["input"]
    assert set(given) in ({"messages"}, {"messages", "tools", "parallel_tool_calls"})
    assert given["messages"] and given["messages"][-1]["role"] in {"user", "tool", "developer"}
    for side in ("preferred_output", "non_preferred_output"):
        assert len(line[side]) == 1 and line[side][0]["role"] == "assistant"
        _openai_messages([*given["messages"], *line[side]], "tools" in given)
    for tool in given.get("tools", []):
        assert tool["type"] == "function" and tool["function"]["name"]
        assert tool["function"]["parameters"]["type"] == "object"


def _openai_messages(messages, has_tools):
    waiting = set()
    for message in messages:
        assert set(message) <= {"role", "content", "name", "tool_calls", "tool_call_id"}
        assert message["role"] in SERVICE_ROLES | {"tool", "developer"}
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting
        assert message["content"] or message.get("tool_calls")
        for call in message.get("tool_calls", []):
            assert has_tools and call["type"] == "function" and isinstance(call["function"]["arguments"], str)
            assert call["id"] not in waiting
            waiting.add(call["id"])


def together(line):
    assert list(line) == ["input", "preferred_output", "non_preferred_output"] and list(line["input"]) == ["messages"]
    _texts(line["input"]["messages"], SERVICE_ROLES)
    previous = None
    for message in line["input"]["messages"]:
        assert message["role"] != previous
        previous = message["role"]
    assert previous != "assistant"
    _one_answer(line["preferred_output"])
    _one_answer(line["non_preferred_output"])


def fireworks(line):
    assert list(line["input"]) == ["messages"]
    _texts(line["input"]["messages"], SERVICE_ROLES)
    assert line["input"]["messages"][-1]["role"] == "user"
    _one_answer(line["preferred_output"])
    _one_answer(line["non_preferred_output"])


def vertex(line):
    assert set(line) <= {"system_instruction", "contents", "completions"}
    assert [turn["role"] for turn in line["contents"]] == ["user", "model"] * (len(line["contents"]) // 2) + ["user"]
    assert [completion["score"] for completion in line["completions"]] == [1, 0]
    answers = [completion["completion"] for completion in line["completions"]]
    assert all(answer["role"] == "model" for answer in answers)
    system = [line["system_instruction"]] if "system_instruction" in line else []
    for content in [*line["contents"], *answers, *system]:
        assert len(content["parts"]) == 1 and content["parts"][0]["text"].strip()


def nova(line):
    *before, last = line["messages"]
    assert [turn["role"] for turn in before] == ["user", "assistant"] * (len(before) // 2) + ["user"]
    assert last["role"] == "assistant" and "content" not in last
    assert [c["preferenceLabel"] for c in last["candidates"]] == ["preferred", "non-preferred"]
    for holder in [*before, *last["candidates"]]:
        assert holder["content"][0]["text"].strip()
    prompt = json.dumps([line.get("system"), before])
    assert not any(word in prompt for word in ("User:", "Bot:", "Assistant:", "System:", "<image>", "<video>", "[EOS]"))


def sagemaker(line):
    assert set(line) == {"chosen", "rejected"}
    assert line["chosen"][:-1] == line["rejected"][:-1]
    for side in line.values():
        _texts(side, SERVICE_ROLES)
        assert side[-1]["role"] == "assistant" and side[-2]["role"] == "user"
        assert all(message["role"] != "system" for message in side[1:])


def nemo_rl(line):
    assert set(line) == {"context", "completions"}
    _texts(line["context"], SERVICE_ROLES)
    assert [entry["rank"] for entry in line["completions"]] == [0, 1]
    for entry in line["completions"]:
        _one_answer(entry["completion"])


def llama_factory(line):
    """`SharegptDatasetConverter` with the tags of our `dataset_info.json`, then `FunctionFormatter`."""
    is_pair = "chosen" in line
    asks, answers = ("user", "observation"), ("assistant", "function_call")
    for index, message in enumerate(line["messages"]):
        assert message["role"] in (asks, answers)[index % 2]
        _llama_factory_turn(message)
    assert len(line["messages"]) % 2 == (1 if is_pair else 0)
    for side in ("chosen", "rejected") if is_pair else ():
        assert line[side]["role"] in answers
        _llama_factory_turn(line[side])
    if not is_pair:
        assert isinstance(line["label"], bool)
    assert isinstance(line["system"], str)
    for tool in json.loads(line["tools"]) if line["tools"] else []:
        assert tool["name"] and isinstance(tool["parameters"], dict)


def _llama_factory_turn(message):
    assert isinstance(message["content"], str)
    if message["role"] == "function_call":
        content = message["content"]
        if content.startswith("<think>"):
            content = content[content.index("</think>") + len("</think>") :]
        found = json.loads(content)
        for call in found if isinstance(found, list) else [found]:
            assert isinstance(call["name"], str) and "arguments" in call
    elif message["role"] != "observation":
        assert message["content"].strip()


def ms_swift(line):
    """`RowPreprocessor._check_messages` and `_check_rejected_response`, then `TemplateInputs.from_dict`."""
    for name in ("messages", "rejected_messages"):
        for message in line.get(name, []):
            assert set(message) == {"role", "content"} and isinstance(message["content"], str)
            assert message["role"] in {"system", "user", "tool_call", "tool_response", "tool", "assistant"}
            if message["role"] == "tool_call":
                assert set(json.loads(message["content"])) == {"name", "arguments"}
    if "label" in line:
        assert isinstance(line["label"], bool)
    elif "rejected_response" in line:
        assert line["rejected_response"].strip() and line["rejected_response"] != line["messages"][-1]["content"]
        # It takes the place of all that follows the last user turn: that is the answer alone.
        assert [message["role"] for message in line["messages"][-2:]] == ["user", "assistant"]
    else:
        assert line["rejected_messages"] != line["messages"]
        assert line.get("tools") == line.get("rejected_tools")
    if "tools" in line:
        assert isinstance(json.loads(line["tools"]), list)


def axolotl(line):
    if "label" in line:
        assert set(line) == {"system", "prompt", "completion", "label"}
        assert line["prompt"].strip() and line["completion"].strip() and isinstance(line["label"], bool)
        return
    for message in [*line["messages"], line["chosen"], line["rejected"]]:
        assert message["role"] in {"system", "user", "assistant", "tool"} and isinstance(message["content"], str)
        for call in message.get("tool_calls") or []:
            assert isinstance(call["function"]["arguments"], str)
    assert line["chosen"]["role"] == line["rejected"]["role"] == "assistant"


def _texts(messages, roles):
    assert messages
    for message in messages:
        assert set(message) == {"role", "content"} and message["role"] in roles
        assert isinstance(message["content"], str) and message["content"].strip()


def _one_answer(messages):
    assert len(messages) == 1
    _texts(messages, {"assistant"})


RULES = {
    "openai": openai,
    "together": together,
    "fireworks": fireworks,
    "vertex": vertex,
    "nova": nova,
    "sagemaker": sagemaker,
    "nemo-rl": nemo_rl,
    "llama-factory": llama_factory,
    "axolotl": axolotl,
    "ms-swift": ms_swift,
}
