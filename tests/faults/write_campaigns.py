"""Which commands are run with failing steps: a campaign each, and for `run` one a stage.

    python -m tests.faults.write_campaigns FOLDER run sweep --seconds 600

A campaign names the command, the campaign whose finished place it starts from, which steps fail and with which errors.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.line.conftest import write_config, write_log
from tests.tiny import save_tiny_model
from thumbline.pipeline.line.stages import STAGE_NAMES

SCRIPT: Final = Path(__file__).with_name("failing_writes.py")
COMMANDS: Final = ("prepare", "init", "run", "evaluate", "compare", "export", "sweep")
# The sizes beyond which no file grows, whoever writes it: in bytes, from a marker to a model.
_MOST_BYTES: Final = (300, 3_000, 9_000, 40_000)
_WHOLE_RUN: Final = f"run {STAGE_NAMES[-1]}"
Campaign = dict[str, Any]


def write_inputs(folder: Path) -> None:
    """A log of twelve prompts, a tiny model and a run file of every stage, but two steps of training."""
    (folder / "inputs").mkdir(parents=True, exist_ok=True)
    write_log(folder / "thumbs.jsonl", prompts=12)
    if not (folder / "tiny").exists():
        save_tiny_model(folder / "tiny")
    write_config(
        folder / "inputs",
        folder / "thumbs.jsonl",
        folder / "tiny",
        runs=str(folder / "place" / "runs"),
        splits={"validation": 0.3, "test": 0.3},
        train={"max_steps": 2, "epochs": 1, "parity_rows": 4, "checkpoint_every": 1},
        thumbs={"method": "reward_bce"},
        generations={"engine": "hf", "samples": 1, "prompts": 2, "max_new_tokens": 4},
        judges=[{"judge": "thumbs"}],
        metrics={"bootstrap_draws": 100},
    )


def campaigns(folder: Path, commands: Sequence[str] = COMMANDS, **chosen: Any) -> list[Campaign]:
    """The campaigns of some commands, those that they start from among them, of which nothing fails.

    Args:
        folder: Where `write_inputs` has written.
        commands: Of `COMMANDS`.
        chosen: What is the same for all: `every`, `first`, `errors`, `seconds` and so on.
    """
    log, run_file = str(folder / "thumbs.jsonl"), str(folder / "inputs" / "run.yaml")
    ran = {"start": _WHOLE_RUN, "most_bytes": _MOST_BYTES}
    made: list[Campaign] = [
        {"name": "prepare", "command": ["prepare", log, "-o", "out"], "most_bytes": _MOST_BYTES},
        {"name": "init", "command": ["init", log, "-y", "-m", str(folder / "tiny"), "--force", "-o", "run.yaml"]},
        *_stages(run_file),
        {"name": "evaluate", "command": ["evaluate", "runs/run", "-o", "evaluation"], **ran},
        {
            "name": "compare",
            "command": ["compare", "runs/run", "evaluation", "-o", "comparison"],
            **ran,
            "start": "evaluate",
        },
        {"name": "export", "command": ["export", "runs/run", "--for", "openai", "-o", "exported"], **ran},
        {"name": "sweep", "command": ["sweep", run_file, "--over", "train.loss.beta=0.1,0.5", "-o", "sweep"], **ran},
    ]
    wanted = [one for one in made if one["name"].split()[0] in commands]
    needed = {one.get("start") for one in wanted}
    for one in reversed(made):
        needed |= {one.get("start")} if one["name"] in needed else set()
    nothing = {"steps": [], "most_bytes": []}
    return [{**one, **(chosen if one in wanted else nothing)} for one in made if one in wanted or one["name"] in needed]


def _stages(run_file: str) -> list[Campaign]:
    """`run` until each stage, from where the one before it is done."""
    starts = [None, *(f"run {name}" for name in STAGE_NAMES)]
    return [
        {
            "name": f"run {name}",
            "command": ["run", run_file, "--until", name],
            "start": start,
            "most_bytes": _MOST_BYTES,
        }
        for name, start in zip(STAGE_NAMES, starts, strict=False)
    ]


def results(folder: Path, asked: Sequence[Campaign]) -> Iterator[dict[str, Any]]:
    """What became of each campaign as soon as it is done, as `failing_writes.py` prints it."""
    with (folder / "asked.json").open("w+") as given, (folder / "errors").open("w") as errors:
        json.dump(asked, given)
        given.seek(0)
        with subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder)], stdin=given, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as child:
            assert child.stdout is not None
            yield from map(json.loads, child.stdout)
    assert child.returncode == 0, (folder / "errors").read_text()[-4000:]


def main() -> int:
    """Print a line a campaign, and each fault below it; 1 where there are any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("commands", nargs="*", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--every", type=int, default=1, help="of so many steps one fails")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--all-errors", action="store_true", help="each step with each error, not in turn")
    parser.add_argument("--seconds", type=float, help="of each campaign at most")
    asked = parser.parse_args()
    folder = asked.folder.absolute()
    write_inputs(folder)
    named = {name: getattr(asked, name) for name in ("every", "first", "all_errors", "seconds")}
    failed = 0
    for one in results(folder, campaigns(folder, asked.commands, **named)):
        figures = (
            f"{one['steps']:6} steps{one['tried']:6} tried{len(one['faults']):5} faults{one['cpu_seconds']:8.1f} s"
        )
        sys.stdout.write(f"{one['name']:16}{figures}\n")
        for fault in one["faults"]:
            sys.stdout.write(json.dumps(fault, indent=1) + "\n")
        sys.stdout.flush()
        failed += len(one["faults"])
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
