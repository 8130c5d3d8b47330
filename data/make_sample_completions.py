"""Samples several answers to every prompt of the sample log from the embedded demo model.

Run it from the repository root with a vLLM build installed; it takes a few minutes on two cores:

    python -m data.make_sample_completions

Its output is recorded in the repository: sampling in bfloat16 gives other texts on other machines, so it is
`data/make_sample_log.py`, working from the recorded file, that re-makes the log byte for byte.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thumbline.pipeline.engines.demo_model import demo_model_path

SAMPLE = Path(__file__).parent / "sample"
COMPLETIONS_PER_PROMPT = 6
TEMPERATURE = 1.0
TOP_P = 0.95
MAX_NEW_TOKENS = 72
SEED = 20260
# vLLM on CPU: no network, no usage report, one process, 2 GiB of key-value cache.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_LOGGING_LEVEL": "ERROR",
}


def read_prompts(path: Path) -> list[str]:
    """Prompts of a JSON Lines file, in its order, white space kept."""
    return [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]


def sample(prompts: list[str], model: Path) -> Iterator[dict[str, Any]]:
    """One row per completion, siblings adjacent.

    Args:
        prompts: user messages; the model's chat template adds its default system message to each.
        model: a folder with weights, tokenizer and chat template.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from vllm import LLM, SamplingParams

    # The engine is seeded, not each request: on CPU, vLLM 0.32 fails on a seeded request whose prompt is split.
    engine = LLM(model=str(model), dtype="bfloat16", enforce_eager=True, max_model_len=1024, seed=SEED)
    parameters = SamplingParams(
        n=COMPLETIONS_PER_PROMPT, temperature=TEMPERATURE, top_p=TOP_P, max_tokens=MAX_NEW_TOKENS
    )
    conversations = [[{"role": "user", "content": prompt}] for prompt in prompts]
    outputs = engine.chat(conversations, parameters)
    for prompt, output in zip(prompts, outputs, strict=True):
        for completion in output.outputs:
            yield {
                "prompt": prompt,
                "completion": completion.text,
                "finish_reason": completion.finish_reason,
                "token_count": len(completion.token_ids),
            }


def main() -> None:
    """Writes the completions file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prompts", type=Path, default=SAMPLE / "prompts.jsonl")
    parser.add_argument("--out", type=Path, default=SAMPLE / "completions.jsonl")
    parser.add_argument("--model", type=Path, help="model folder; default: the demo model, converted on first use")
    arguments = parser.parse_args()
    rows = sample(read_prompts(arguments.prompts), arguments.model or demo_model_path())
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    arguments.out.write_text(text, encoding="utf-8")
    print(f"{arguments.out}: {text.count(chr(10)):,} completions")


if __name__ == "__main__":
    main()
