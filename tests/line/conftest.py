"""A small log and a tiny model for whole runs."""

import json
import random
from pathlib import Path

import pytest
import yaml

from tests.tiny import save_tiny_model

_PLANTS = ["beans", "peas", "kale", "leeks", "chard", "garlic", "onions", "basil", "mint", "squash", "corn", "beets"]


def write_log(path: Path, prompts: int = 48, seed: int = 0) -> Path:
    """A thumbs log in which answers that end with "thanks" are liked, by two users who mostly agree."""
    generator = random.Random(seed)
    lines = []
    for number in range(prompts):
        prompt = f"When do I plant {_PLANTS[number % len(_PLANTS)]} in garden {number}?"
        for answer in range(4):
            polite = answer % 2 == 0
            text = f"In {['March', 'April', 'May', 'June'][answer]}" + (", thanks." if polite else ", go away.")
            for user in ("ann", "bob"):
                up = polite if generator.random() < 0.95 else not polite
                lines.append(
                    {
                        "event_id": f"{number}-{answer}-{user}",
                        "timestamp": f"2026-01-01T10:{number:02d}:{answer:02d}Z",
                        "conversation_id": f"c{number}",
                        "user_id": user,
                        "model": "tiny",
                        "prompt": prompt,
                        "response": text,
                        "feedback": "thumbs_up" if up else "thumbs_down",
                    }
                )
    lines.append(lines[0])
    text = "".join(json.dumps(line) + "\n" for line in lines) + "{broken\n"
    path.write_text(text, encoding="utf-8")
    return path


def write_config(folder: Path, log: Path, model: Path, name: str = "run", **sections) -> Path:
    """A run file for the HF engine and a few steps of training."""
    document = {
        "name": name,
        "runs": str(folder / "runs"),
        "model": str(model),
        "events": {"inputs": [str(log)], "format": "thumbs_jsonl"},
        "sequences": {"max_tokens": 128},
        "reference": {"engine": "hf", "dtype": "float32", "shard_rows": 16},
        "train": {
            "method": "dpo",
            "dtype": "float32",
            "learning_rate": 1e-3,
            "epochs": 3,
            "batch_rows": 8,
            "micro_batch_rows": 4,
            "validate_every": 2,
            "checkpoint_every": 2,
            "parity_rows": 8,
            "device": "cpu",
        },
        "metrics": {"bootstrap_draws": 200},
    }
    for section, values in sections.items():
        document[section] = document.get(section, {}) | values if isinstance(values, dict) else values
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def small_log(tmp_path_factory) -> Path:
    return write_log(tmp_path_factory.mktemp("log") / "thumbs.jsonl")
