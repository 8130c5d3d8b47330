"""Families of chat templates as their models have them, each with a tiny tokenizer that has the tokens they write."""

from typing import Final, NamedTuple

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from tests.tiny import CHATML, tiny_tokenizer

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


FAMILIES: Final = {
    "chatml": Family(CHATML, "<|im_start|>", "<|im_end|>", "<|im_end|>"),
    "llama3": Family(
        LLAMA3, "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>")
    ),
    "mistral": Family(MISTRAL, "<s>", "</s>", "</s>", ("[INST]", "[/INST]")),
    "gemma": Family(GEMMA, "<bos>", "<eos>", "<end_of_turn>", ("<start_of_turn>",)),
    "qwen3": Family(QWEN3, "<|endoftext|>", "<|im_end|>", "<|im_end|>", ("<think>", "</think>")),
}


def family_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A tiny tokenizer with a family's template and tokens."""
    family = FAMILIES[name]
    tokenizer = tiny_tokenizer(family.template)
    tokens = dict.fromkeys((family.begin, family.end, family.turn_end, *family.others))
    tokenizer.add_tokens(
        [AddedToken(token, special="think" not in token) for token in tokens if token not in tokenizer.get_vocab()]
    )
    tokenizer.bos_token, tokenizer.eos_token = family.begin, family.end
    return tokenizer


# Parts that a template is made of, each a for loop's body.
TOOLS_PART = "{% for tool in tools or [] %}<tool>{{ tool | tojson }}</tool>{% endfor %}"
CALLS_PART = "{% for call in turn.tool_calls or [] %}<call>{{ call.function.name }} ARGUMENTS</call>{% endfor %}"
THOUGHT_PART = "{% if turn.KEY %}<think>{{ turn.KEY }}</think>{% endif %}"


def template(*parts: str, condition: str = "true", content: str = "turn.content") -> str:
    """ChatML with parts before each turn's text, where `condition` holds."""
    inside = "".join(part for part in parts if part != TOOLS_PART)
    return (
        (TOOLS_PART if TOOLS_PART in parts else "")
        + "{% for turn in messages %}{{ '<|im_start|>' ~ turn.role ~ '\n' }}"
        + f"{{% if {condition} %}}{inside}{{% endif %}}{{{{ {content} }}}}<|im_end|>\n{{% endfor %}}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
