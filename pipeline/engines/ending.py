"""Which tokens end an answer: the same for every engine, and for a model before and after training."""

from pathlib import Path
from typing import Any

from ..errors import InputError
from .encoding import Encoder
from .loading import json_settings


def end_token_ids(model_dir: Path, encoder: Encoder) -> tuple[int, ...]:
    """The tokenizer's end, the one that the template writes after a turn, and those of the model's own settings.

    Args:
        model_dir: Folder of the model: its generation_config.json counts, or its config.json where that names none.
        encoder: Its tokenizer and template.

    Returns:
        Token ids, sorted; none where nothing names any: every answer is cut then.

    Raises:
        InputError: A settings file is no JSON, or what it names are no token ids.
    """
    return tuple(sorted(encoder.end_token_ids | _of_settings(model_dir)))


def _of_settings(model_dir: Path) -> frozenset[int]:
    for name in ("generation_config.json", "config.json"):
        path = model_dir / name
        named = _stated(path, "eos_token_id") if path.is_file() else None
        if named is None:
            continue
        ids = named if isinstance(named, list) else [named]
        if not all(type(token) is int and token >= 0 for token in ids):
            raise InputError(f"{path}: eos_token_id is {named!r:.80}, and no token id or list of them.")
        return frozenset(ids)
    return frozenset()


def context_tokens(model_dir: Path) -> int | None:
    """How many tokens the model takes, prompt and answer together; None where its config does not say.

    Raises:
        InputError: Its config is no JSON, or says it in another way.
    """
    path = model_dir / "config.json"
    most = _stated(path, "max_position_embeddings")
    if most is not None and (type(most) is not int or most < 1):
        raise InputError(f"{path}: max_position_embeddings is {most!r:.80}, and no number of tokens.")
    return most


def _stated(path: Path, name: str) -> Any:
    """What a settings file says by a name, or its part on text, as models of several kinds of input have one."""
    settings = json_settings(path)
    inside = settings.get("text_config")
    return settings.get(name, inside.get(name) if isinstance(inside, dict) else None)
