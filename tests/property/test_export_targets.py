"""Whatever a conversation is made of, a target's line keeps that target's rules, or the row has a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.export_rules import RULES
from thumbline.pipeline.dataset.rows import Pair, Rated
from thumbline.pipeline.dataset.targets.base import CannotTakeError
from thumbline.pipeline.dataset.targets.registry import TARGETS

TEXTS = st.sampled_from(["", " ", "When?", "In May.\n", "User: hi", "<think>no</think>", "a\u2028b", "é" * 40, "{}"])
ARGUMENTS = st.sampled_from([{}, {"n": 1}, '{"n": 1}', '{"n": ', ""])
FUNCTIONS = st.builds(lambda arguments: {"name": "frost", "arguments": arguments}, ARGUMENTS)
CALLS = st.one_of(
    st.builds(lambda function: {"type": "function", "function": function}, FUNCTIONS),
    st.builds(lambda function, number: {"id": f"c{number}", "function": function}, FUNCTIONS, st.integers(0, 2)),
    FUNCTIONS,
    st.just("frost"),
)
EXTRAS = st.one_of(
    st.just({}),
    st.builds(lambda calls: {"tool_calls": calls}, st.lists(CALLS, max_size=2)),
    st.builds(lambda text: {"reasoning_content": text}, TEXTS),
    st.builds(lambda text: {"name": text}, st.sampled_from(["ann", ""])),
    st.builds(lambda number: {"tool_call_id": f"c{number}"}, st.integers(0, 2)),
)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "developer"])


def message(role, content, extra):
    return {"role": role, "content": content, **extra}


PROMPTS = st.one_of(
    st.lists(st.builds(message, ROLES, TEXTS, EXTRAS), min_size=1, max_size=5),
    st.builds(lambda turns: [{"role": "user", "content": "When?"}, *turns, {"role": "user", "content": "Well?"}],
              st.lists(st.builds(message, st.sampled_from(["assistant", "tool"]), TEXTS, EXTRAS), max_size=3)),
)  # fmt: skip
ANSWERS = st.builds(message, st.just("assistant"), TEXTS, EXTRAS)
TOOLS = st.one_of(
    st.just([]),
    st.just([{"type": "function", "function": {"name": "frost", "parameters": {"type": "object", "properties": {}}}}]),
    st.just([{"name": "frost", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}]),
    st.just(["frost"]),
)


@pytest.mark.parametrize("target", TARGETS)
@given(prompt=PROMPTS, tools=TOOLS, chosen=ANSWERS, rejected=ANSWERS, label=st.booleans())
def test_a_line_keeps_its_targets_rules_or_the_row_has_a_reason(target, prompt, tools, chosen, rejected, label):
    for row in (Pair(prompt, tools, chosen, rejected), Rated(prompt, tools, chosen, label)):
        if chosen == rejected:
            continue
        try:
            made = TARGETS[target].line(row)
        except CannotTakeError as error:
            assert error.reason.isidentifier() and error.detail
        else:
            RULES[target](json.loads(json.dumps(made.content)))
