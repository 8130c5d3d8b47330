"""LLaMA-Factory's DPO and KTO, with its `dataset_info.json`.

Source: LLaMA-Factory, "Data Preparation" (`data/README.md`), `SharegptDatasetConverter` and `FunctionFormatter`:
turns of user or observation alternate with those of assistant or function call; before a pair's answers stands an
odd number of them; a call is JSON of name and arguments; thoughts stand before the text in `<think>`; an unnamed
tag is none.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from ..rows import Message, Pair, Rated
from .base import CannotTakeError, Limits, Line, Target, Written
from .checks import conversation, of_roles
from .functions import calls, functions
from .thoughts import thinking_text

_TAGS: Final = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
_ASKS: Final = ("user", "observation")


def _pair(row: Pair) -> Line:
    return Line({**_prompt(row), "chosen": _turn(row.chosen), "rejected": _turn(row.rejected)})


def _rated(row: Rated) -> Line:
    prompt = _prompt(row)
    return Line({**prompt, "messages": [*prompt["messages"], _turn(row.completion)], "label": row.label})


def _prompt(row: Pair | Rated) -> dict[str, Any]:
    of_roles(row.prompt, ("system", "user", "assistant", "tool"))
    system, messages = conversation(row.prompt)
    turns = [_turn(message) for message in messages]
    for index, turn in enumerate(turns):
        if (turn["role"] in _ASKS) != (index % 2 == 0):
            several = turn["role"] == "observation" and turns[index - 1]["role"] == "observation"
            reason = "several_tool_results" if several else "roles_do_not_alternate"
            raise CannotTakeError(reason, f"turn {index + 1} of the prompt is of '{turn['role']}'")
    if len(turns) % 2 == 0:
        raise CannotTakeError("last_turn", f"the prompt ends with a turn of '{messages[-1]['role']}'")
    tools = json.dumps(functions(row.tools), ensure_ascii=False) if row.tools else ""
    return {"messages": turns, "system": system or "", "tools": tools}


def _turn(message: Message) -> Message:
    if message["role"] == "tool":
        return {"role": "observation", "content": message["content"]}
    found = calls(message)
    if not found:
        text = thinking_text(message)
        if not text.strip():
            raise CannotTakeError("empty_message", f"a turn of '{message['role']}' has no text")
        return {"role": message["role"], "content": text}
    if message["content"].strip():
        raise CannotTakeError("text_beside_tool_calls", "a turn has text and tool calls, and there is room for one")
    listed = [{"name": call.name, "arguments": call.parsed()} for call in found]
    content = json.dumps(listed if len(listed) > 1 else listed[0], ensure_ascii=False)
    return {"role": "function_call", "content": f"{thinking_text({**message, 'content': ''})}{content}"}


def _companions(written: Written) -> Mapping[str, str]:
    """The data sets' descriptions, by the names of their files."""
    shared = {"messages": "messages", "system": "system", "tools": "tools"}
    described: dict[str, Any] = {}
    for file in written.rows:
        is_pairs = file.startswith("pairs")
        columns = {"chosen": "chosen", "rejected": "rejected"} if is_pairs else {"kto_tag": "label"}
        ranking = {"ranking": True} if is_pairs else {}
        described[file.removesuffix(".jsonl")] = {
            "file_name": file,
            "formatting": "sharegpt",
            **ranking,
            "columns": {**shared, **columns},
            "tags": _TAGS,
        }
    return {"dataset_info.json": json.dumps(described, indent=2) + "\n"}


def _usage(written: Written) -> str:
    commands = [
        f"llamafactory-cli train --stage {stage} --do_train --dataset_dir . --dataset {kind}_train"
        + (f" --eval_dataset {kind}_validation" if written.file(kind, "validation") else "")  # type: ignore[arg-type]
        + " --model_name_or_path MODEL --template TEMPLATE --output_dir OUTPUT"
        for kind, stage in (("pairs", "dpo"), ("unpaired", "kto"))
        if written.file(kind, "train")  # type: ignore[arg-type]
    ]
    return "\n".join(["`dataset_info.json` names the files.", "", "```bash", *commands, "```", ""])


TARGET: Final = Target(
    name="llama-factory",
    title="LLaMA-Factory DPO and KTO",
    usage=_usage,
    pair=_pair,
    rated=_rated,
    limits=Limits(),
    companions=_companions,
)
