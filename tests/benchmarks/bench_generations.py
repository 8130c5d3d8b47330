"""Seconds that sampling takes by each engine, loading included, on the demo model and prompts of the sample log.

    python -m tests.benchmarks.bench_generations --prompts 70 --samples 4 --new-tokens 72

Each engine loads the model, then samples shards of `--batch-prompts` prompts, as the stage does. Seconds are those of
the clock; `cores busy` is the CPU-seconds of this process and of those that it started over them, so that a machine
which other work shares shows. float32 unless said otherwise: many CPUs multiply no bfloat16.
"""

import argparse
import json
import os
import time
from pathlib import Path

from thumbline.pipeline.config import EngineConfig, GenerationsConfig
from thumbline.pipeline.engines.demo_model import demo_model_path
from thumbline.pipeline.engines.encoding import load_encoder
from thumbline.pipeline.engines.ending import end_token_ids
from thumbline.pipeline.engines.registry import EngineName, open_sampler
from thumbline.pipeline.engines.sampling import Draw, sampling_settings

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "completions.jsonl"


def prompts(folder: Path, count: int) -> list[tuple[int, ...]]:
    """Token ids of the sample log's first prompts, in the model's own template."""
    texts = dict.fromkeys(json.loads(line)["prompt"] for line in SAMPLE.read_text(encoding="utf-8").splitlines())
    asked = [[{"role": "user", "content": text}] for text in list(texts)[:count]]
    encoder = load_encoder(folder, "chat", 512, "drop")
    return [tuple(entry.prompt_token_ids) for entry in encoder.encode(asked, ["Yes."] * len(asked))]


def cpu_seconds() -> float:
    """CPU-seconds of this process and of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measured(
    engine: EngineName, asked: list[tuple[int, ...]], batch: int, config: GenerationsConfig, dtype: str
) -> str:
    """One line on an engine."""
    folder = demo_model_path()
    settings = sampling_settings(config, end_token_ids(folder, load_encoder(folder, "chat", 512, "drop")))
    started, cpu = time.monotonic(), cpu_seconds()
    sampler = open_sampler(engine, EngineConfig(engine=engine, dtype=dtype), folder, settings, max(map(len, asked)))
    seconds, tokens, cut = [], 0, 0
    for first in range(0, len(asked), batch):
        draws = [
            Draw(ids, place * 1000 + sample)
            for place, ids in enumerate(asked[first : first + batch], first)
            for sample in range(config.samples)
        ]
        begun = time.monotonic()
        answers = sampler.sample(draws)
        seconds.append(time.monotonic() - begun)
        tokens += sum(len(answer.token_ids) for answer in answers)
        cut += sum(answer.finish == "length" for answer in answers)
    sampler.close()
    whole = time.monotonic() - started
    # vLLM loads while its first shard waits.
    return (
        f"{engine:5} {whole:7.1f} s in all, {whole - sum(seconds[1:]):6.1f} of them up to the first shard's end; "
        f"{tokens:,} tokens ({tokens / whole:,.0f} a second), {cut} answers cut; "
        f"{(cpu_seconds() - cpu) / whole:.2f} cores busy"
    )


def main() -> None:
    """Print a line an engine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=70)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=72)
    parser.add_argument("--batch-prompts", type=int, default=16)
    parser.add_argument("--engine", choices=("hf", "vllm"), action="append")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="float32")
    given = parser.parse_args()
    config = GenerationsConfig(samples=given.samples, max_new_tokens=given.new_tokens)
    asked = prompts(demo_model_path(), given.prompts)
    print(f"{len(asked)} prompts of {min(map(len, asked))} to {max(map(len, asked))} tokens")
    for engine in given.engine or ("hf", "vllm"):
        print(measured(engine, asked, given.batch_prompts, config, given.dtype), flush=True)


if __name__ == "__main__":
    main()
