"""Which tokens end an answer: the same for every engine, and for a model before and after training."""

import json
from pathlib import Path
from typing import Any

from .encoding import Encoder


def end_token_ids(model_dir: Path, encoder: Encoder) -> tuple[int, ...]:
    """The tokenizer's end, the one that the template writes after a turn, and those of the model's own settings.

    Args:
        model_dir: Folder of the model: its generation_config.json counts, or its config.json where that names none.
        encoder: Its tokenizer and template.

    Returns:
        Token ids, sorted; none where nothing names any: every answer is cut then.
    """
    return tuple(sorted(encoder.end_token_ids | _of_settings(model_dir)))


def _of_settings(model_dir: Path) -> frozenset[int]:
    for name in ("generation_config.json", "config.json"):
        path = model_dir / name
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        named = settings.get("eos_token_id", (settings.get("text_config") or {}).get("eos_token_id"))
        if named is not None:
            return frozenset(named if isinstance(named, list) else [named])
    return frozenset()


def context_tokens(model_dir: Path) -> int | None:
    """How many tokens the model takes, prompt and answer together; None where its config does not say."""
    config: dict[str, Any] = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
    most = config.get("max_position_embeddings", (config.get("text_config") or {}).get("max_position_embeddings"))
    return None if most is None else int(most)
