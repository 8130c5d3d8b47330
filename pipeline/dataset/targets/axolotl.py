"""axolotl's DPO and KTO, with parts for its run files.

Source: axolotl, "RLHF (Beta)" and `axolotl.prompt_strategies` (`dpo.chat_template`, `preference_chat_template`,
`kto.chatml`): `messages` with one message `chosen` and one `rejected`; for KTO texts `system`, `prompt`,
`completion` and `label`, since it has no chat template there. Tools and thoughts are read by releases that have
`preference_chat_template`; others leave them out without a word, so such rows go to files of their own.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from ..rows import Message, Pair, Rated
from .base import CannotTakeError, Limits, Line, Target, Written
from .checks import conversation, ends_with, of_roles, reasoning_of, text_alone, without_tools
from .functions import as_chat, offered, uses_tools

_PART: Final = "tools"
_PAIRS: Final = """rl: dpo
datasets:
  - path: {train}
    ds_type: json
    split: train
    type: chat_template.default
    field_messages: messages
    field_chosen: chosen
    field_rejected: rejected
    message_property_mappings:
      role: role
      content: content
    roles:
      user: [user]
      assistant: [assistant]
      system: [system]
      tool: [tool]
"""
_UNPAIRED: Final = """rl: kto
remove_unused_columns: false
datasets:
  - path: {train}
    ds_type: json
    split: train
    type: chatml.ultra # or llama3.ultra: which the model's turns are written in
"""


def _pair(row: Pair) -> Line:
    of_roles(row.prompt, ("system", "user", "assistant", "tool"))
    ends_with(row.prompt, "user", "tool")
    everything = [*row.prompt, row.chosen, row.rejected]
    if not row.tools and not uses_tools(everything) and not any(map(reasoning_of, everything)):
        prompt, chosen, rejected = [text_alone(m) for m in row.prompt], text_alone(row.chosen), text_alone(row.rejected)
        return Line({"messages": prompt, "chosen": chosen, "rejected": rejected})
    chat = as_chat(row.prompt, row.chosen, row.rejected)
    line: dict[str, Any] = {"messages": chat.prompt, "chosen": chat.answers[0], "rejected": chat.answers[1]}
    return Line({**line, "tools": json.dumps(offered(row.tools), ensure_ascii=False)} if row.tools else line, _PART)


def _rated(row: Rated) -> Line:
    without_tools(row.tools)
    prompt: list[Message] = [text_alone(message) for message in row.prompt]
    system, turns = conversation(prompt)
    if [turn["role"] for turn in turns] != ["user"]:
        raise CannotTakeError("several_turns", f"the prompt has {len(turns)} turns, and one of the user is taken")
    texts = {"prompt": turns[0]["content"], "completion": text_alone(row.completion)["content"]}
    return Line({"system": system or "", **texts, "label": row.label})


def _companions(written: Written) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for part in ("", _PART):
        if train := written.file("pairs", "train", part):
            held_out = written.file("pairs", "validation", part)
            found[f"axolotl_dpo{'_tools' if part else ''}.yaml"] = _config(_PAIRS, train, held_out)
    if train := written.file("unpaired", "train"):
        found["axolotl_kto.yaml"] = _config(_UNPAIRED, train, written.file("unpaired", "validation"))
    return found


def _config(template: str, train: str, held_out: str | None) -> str:
    config = template.format(train=train)
    if held_out is None:
        return config
    described = config[config.index("datasets:") + len("datasets:\n") :]
    return f"{config}test_datasets:\n{described.replace(train, held_out)}"


def _usage(written: Written) -> str:
    lines = [f"- `{name}`: put it into your run file, beside `base_model`." for name in _companions(written)]
    if written.file("pairs", "train", _PART):
        lines += ["- `pairs_tools_*.jsonl` holds the rows with tools or thoughts. Releases without"]
        lines += ["  `prompt_strategies/preference_chat_template.py`, such as 0.19.0, train on them without either."]
    return "\n".join([*lines, "", "```bash", "axolotl train my_run.yaml", "```", ""])


TARGET: Final = Target(
    name="axolotl",
    title="axolotl DPO and KTO",
    usage=_usage,
    pair=_pair,
    rated=_rated,
    limits=Limits(),
    parts=(_PART,),
    companions=_companions,
)
