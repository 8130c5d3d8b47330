"""Bits flipped in the files of a finished run: what the commands that read it say and do.

    python -m tests.benchmarks.flips --flips 500
    python -m tests.benchmarks.flips --flips 200 --rich

Each flip is one bit of one file (tables, manifests, settings, models, the store; of a rich run also the adapter, the
thumbs model, checkpoints and a sweep), in a copy of a tiny run. Then one of the commands reads it. A command may refuse
with a message, make the file again, or give what it gives without the flip; another result, or anything else that is
raised, is a fault.
"""

import argparse
import hashlib
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import polars as pl

import thumbline
from tests.benchmarks.flipped_runs import HALF, OTHER, RUN, SWEEP, Finished, finished_run, sweep_of
from tests.engine_inputs import random_sequences
from thumbline.pipeline import line, sweep
from thumbline.pipeline.config import load_config
from thumbline.pipeline.engines.thumbs_model import open_thumbs_model
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.evaluation.compare import compare
from thumbline.pipeline.evaluation.outcome import Choices
from thumbline.pipeline.planning.planned import Asked, as_json, plan
from thumbline.pipeline.storage.digests import digest_json

Outcome = Literal["refused", "made again", "without effect", "changed", "raised"]
FAULTS: Final = ("changed", "raised")
_RAISED: Final = (Exception, pl.exceptions.PanicException)
# What a clock or a place says.
_FREE: Final = (
    "failure.json",
    "sweep.html",
    "report.html",
    "report.json",
    "model_card.md",
    "metrics.json",
    "manifest.json",
    ".lock",
)


class Flipped(NamedTuple):
    """One flip.

    Attributes:
        file: Path below the folder of runs.
        bit: Which bit.
        command: What read it.
        outcome: What came of it.
        said: What was raised.
    """

    file: str
    bit: int
    command: str
    outcome: Outcome
    said: str


class Given(NamedTuple):
    """What a command gave.

    Attributes:
        files: Digest of each file that it wrote, but for those that tell the time.
        stages: Stages that ran.
    """

    files: dict[str, str]
    stages: frozenset[str] = frozenset()


def _content(*folders: Path) -> dict[str, str]:
    found = (path for folder in folders for path in sorted(folder.rglob("*")))
    files = [path for path in found if path.is_file() and path.name not in _FREE]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _line(finished: Finished, first: str | None, last: str) -> Given:
    stages = line.select(first, last)
    done = list(line.run(load_config(finished.config), stages, forced=first is not None))
    files = _content(*(finished.runs / "run" / stage.name for stage in stages))
    return Given(files, frozenset(one.stage.name for one in done if one.action == "ran"))


def _evaluate(finished: Finished, _: Path) -> Given:
    metrics = thumbline.evaluate(finished.runs / "run", draws=100).metrics
    return Given({"metrics": hashlib.sha256(metrics.write_csv().encode()).hexdigest()})


def _export(finished: Finished, output: Path) -> Given:
    thumbline.export(finished.runs / "run", "openai", output=output)
    return Given(_content(output))


def _compare(finished: Finished, _: Path) -> Given:
    """With a run in which no bit is flipped."""
    locations = [str(finished.runs / RUN), str(finished.runs.parent / OTHER)]
    return Given({"metrics": digest_json(compare(locations, Choices(draws=100), ()).metrics.to_dicts())})


def _launch_plan(finished: Finished, _: Path) -> Given:
    return Given({"plan": digest_json(thumbline.launch_plan(finished.runs / RUN, rating_rate=0.1).as_dict())})


def _plan(finished: Finished, _: Path) -> Given:
    return Given({"plan": digest_json(as_json(plan(load_config(finished.config), Asked())))})


def _thumbs_model(finished: Finished, _: Path) -> Given:
    model = open_thumbs_model(finished.runs / RUN / "thumbs" / "thumbs_model", "cpu", "float32")
    return Given({"scores": digest_json(list(map(float, model.scores(random_sequences(4, 200)))))})


def _resume(finished: Finished, _: Path) -> Given:
    """Of the run whose training was stopped."""
    config = load_config(finished.config.with_name(f"{HALF}.yaml"))
    done = list(line.run(config, line.select(None, "train")))
    files = _content(finished.runs / HALF / "train")
    return Given(files, frozenset(one.stage.name for one in done if one.action == "ran"))


def _sweep(finished: Finished, _: Path) -> Given:
    *steps, outcome = sweep.run_sweep(sweep_of(finished.config))
    assert isinstance(outcome, sweep.Outcome)
    done = [f"{one.part} {one.finished.stage.name}" for one in steps if isinstance(one, sweep.Done) and _ran(one)]
    tried = [one.trial.name for one in steps if isinstance(one, sweep.TrialResult) and not one.found]
    results = {result.setting.name: digest_json(result.averages) for result in outcome.results}
    return Given(results | _content(finished.runs / SWEEP / "best" / "metrics"), frozenset([*done, *tried]))


def _ran(done: sweep.Done) -> bool:
    return done.finished.action == "ran"


class Command(NamedTuple):
    """What reads a run.

    Attributes:
        call: Does it, and says what it gave.
        reads: Folders below that of the runs in which it reads; none: all.
    """

    call: Callable[[Finished, Path], Given]
    reads: tuple[str, ...] = ()


def _from(first: str, last: str, *reads: str) -> Command:
    folders = tuple(name if name == "store" else f"run/{name}" for name in reads)
    return Command(lambda finished, _: _line(finished, first, last), folders)


_ROWS: Final = ("pairs", "unpaired", "splits", "sequences", "reference")
COMMANDS: Final = {
    "run": Command(lambda finished, _: _line(finished, None, "metrics")),
    "--from splits": _from("splits", "splits", "events", "responses", "pairs", "unpaired"),
    "--from reference": _from("reference", "reference", "sequences", "store"),
    "--from train": _from("train", "train", *_ROWS),
    "--from policy": _from("policy", "policy", "sequences", "train", "store"),
    "--from metrics": _from("metrics", "metrics", *_ROWS, "policy", "generations", "judgements"),
    "evaluate": Command(_evaluate, (f"{RUN}/", "store/")),
    "export": Command(_export, ("run/pairs", "run/unpaired", "run/splits", "run/config.yaml")),
}
# Of a rich run.
RICH: Final = {
    "run": Command(COMMANDS["run"].call, (f"{RUN}/", "store/")),
    "--from policy": COMMANDS["--from policy"],
    "--from metrics": _from("metrics", "metrics", *_ROWS, "policy", "thumbs"),
    "thumbs model": Command(_thumbs_model, ("run/thumbs",)),
    "compare": Command(_compare, ("run/metrics", "run/train", "run/config.yaml", "run/judgements", "run/policy")),
    "launch-plan": Command(_launch_plan, ("run/responses", "run/metrics", "run/config.yaml")),
    "plan": Command(_plan, ("run/splits", "run/sequences", "run/pairs")),
    "resume": Command(_resume, ("half/train.partial",)),
    "sweep": Command(_sweep, (f"{SWEEP}/",)),
}


def restore(finished: Finished) -> None:
    """Undo all that flips and commands did."""
    shutil.rmtree(finished.runs)
    shutil.copytree(finished.whole, finished.runs)


def given(finished: Finished, command: str) -> Given:
    """What a command gives now, in a folder for outputs that is empty."""
    output = finished.runs.parent / "output"
    shutil.rmtree(output, ignore_errors=True)
    return (COMMANDS | RICH)[command].call(finished, output)


def flip(finished: Finished, file: str, bit: int, command: str, expected: Given) -> Flipped:
    """Flip one bit in a fresh copy, and see what the command makes of it."""
    restore(finished)
    path = finished.runs / file
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    try:
        found = given(finished, command)
    except PipelineError as error:
        return Flipped(file, bit, command, "refused", str(error))
    # Whatever else is raised is what is looked for; a panic of polars is no Exception.
    except _RAISED as error:
        return Flipped(file, bit, command, "raised", f"{type(error).__name__}: {error}")
    wrong = [name for name, digest in expected.files.items() if found.files.get(name) != digest]
    if wrong:
        return Flipped(file, bit, command, "changed", ", ".join(wrong))
    outcome: Outcome = "made again" if found.stages > expected.stages else "without effect"
    return Flipped(file, bit, command, outcome, "")


def campaign(finished: Finished, flips: int, seed: int, commands: Sequence[str] = tuple(COMMANDS)) -> Iterator[Flipped]:
    """Flips of random bits of random files, each read by a command that reads in the file's folder."""
    draw = random.Random(seed)
    paths = [path for path in sorted(finished.whole.rglob("*")) if path.is_file() and path.stat().st_size]
    sizes = {str(path.relative_to(finished.whole)): path.stat().st_size for path in paths}
    expected: dict[str, Given] = {}
    for _ in range(flips):
        command = draw.choice(commands)
        reads = (COMMANDS | RICH)[command].reads
        # Pages are for people: no command reads them.
        file = draw.choice([name for name in sizes if name.startswith(reads or "") and "/report/" not in name])
        if command not in expected:
            restore(finished)
            expected[command] = given(finished, command)
        yield flip(finished, file, draw.randrange(sizes[file] * 8), command, expected[command])


def main() -> int:
    """Print what came of the flips; the number of faults is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rich", action="store_true", help="a run with adapter, thumbs model, checkpoints and sweep")
    parser.add_argument("--command", action="append", help="only these commands; may be repeated")
    parser.add_argument("--show", action="store_true", help="print each refusal")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"THUMBLINE_CACHE": f"{folder}/cache", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        found = []
        commands = asked.command or tuple(RICH if asked.rich else COMMANDS)
        for one in campaign(finished_run(Path(folder), rich=asked.rich), asked.flips, asked.seed, commands):
            found.append(one)
            if asked.show or one.outcome in FAULTS:
                print(*one, flush=True)
    counts = Counter((one.command, one.outcome) for one in found)
    for (command, outcome), count in sorted(counts.items()):
        print(f"{command:18}{outcome:16}{count:6,}")
    total = Counter(one.outcome for one in found)
    print(", ".join(f"{outcome} {count:,}" for outcome, count in total.most_common()))
    return min(sum(total[fault] for fault in FAULTS), 100)


if __name__ == "__main__":
    sys.exit(main())
