"""A thumbs model's folder: one that transformers, TRL, RewardBench and vLLM read as it is, and read alike.

They take the score at the last token of a text. Two things would move it from where it was learnt: a padding token
that is the end token too, which transformers skips as padding, and the line break that a chat template writes after an
answer.
"""

import shutil
from pathlib import Path
from typing import Any, Final

from ...engines.bounds import TemplateLimitError, bounded
from ...engines.head import no_progress_bar
from ..dropout import restore_dropout
from ..policy import Policy

_SAMPLE: Final = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def save_thumbs_model(policy: Policy, untrained_dir: Path, folder: Path) -> list[str]:
    """Write the trained weights, in the type that they had on disk before, with a tokenizer that ends where it learnt.

    Args:
        policy: The trained model; its weights take the type they are written in.
        untrained_dir: Folder of the untrained model, whose tokenizer is taken.
        folder: Where the new model goes; replaced if it is there.

    Returns:
        Sentences on what other tools will read otherwise.
    """
    from transformers import AutoConfig, AutoTokenizer

    if folder.exists():
        shutil.rmtree(folder)
    tokenizer, config = AutoTokenizer.from_pretrained(untrained_dir), policy.model.config
    restore_dropout(config, AutoConfig.from_pretrained(untrained_dir))
    config.id2label, config.label2id = {0: "thumbs_up"}, {"thumbs_up": 0}
    said = [*trim_template(tokenizer), *pad_apart(tokenizer)]
    for part in (config, config.get_text_config()):
        part.pad_token_id = tokenizer.pad_token_id
    with no_progress_bar():
        policy.model.to(policy.saved_dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return said


def trim_template(tokenizer: Any) -> list[str]:
    """Let the chat template write nothing after an answer's end token; a sentence where it cannot be made to.

    Args:
        tokenizer: A transformers tokenizer; its template is changed.
    """
    template, before = tokenizer.chat_template, _rendered(tokenizer)
    if before is None or before == before.rstrip():
        return []
    # What asks for an answer stays as it is: the answer's first token follows it.
    tokenizer.chat_template = (
        "{%- set thumbline_text %}" + template + "{%- endset %}"
        "{{- thumbline_text if add_generation_prompt else thumbline_text | trim }}"
    )
    if _rendered(tokenizer) == before.rstrip():
        return []
    tokenizer.chat_template = template
    return ["thumbs: the chat template writes white space after an answer, and other tools will score its end there."]


def pad_apart(tokenizer: Any) -> list[str]:
    """Pad with a token that ends no answer; a sentence where the tokenizer has none.

    Args:
        tokenizer: A transformers tokenizer; its padding token is set.
    """
    rendered = _rendered(tokenizer)
    last = [] if rendered is None else tokenizer(rendered, add_special_tokens=False)["input_ids"][-1:]
    ends = {tokenizer.eos_token_id, *last}
    special = [tokenizer.pad_token, tokenizer.unk_token, *tokenizer.all_special_tokens, *tokenizer.get_added_vocab()]
    for token in special:
        if token is not None and tokenizer.convert_tokens_to_ids(token) not in ends:
            tokenizer.pad_token = token
            return []
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return [
        "thumbs: the tokenizer has no token to pad with but that which ends an answer; transformers will take scores "
        "before it. Other tools should score one text at a time, or pad by a mask."
    ]


def _rendered(tokenizer: Any) -> str | None:
    """A conversation as the chat template writes it; None where there is no template, or it takes none."""
    if tokenizer.chat_template is None:
        return None
    try:
        with bounded(tokenizer.name_or_path):
            return str(tokenizer.apply_chat_template(_SAMPLE, tokenize=False))
    except TemplateLimitError:
        raise
    except Exception:  # noqa: BLE001  a template is a program of its model's makers, and fails as it likes
        return None
