"""Files of a finished run that are damaged as disks, copies and editors damage them: what the commands say and do.

    python -m tests.benchmarks.damages --cases 400

Each file of a run, its store and an export is damaged in each way of `DAMAGES`; then commands read it, each a child of
this process, and the line runs again. A command may refuse with one message and exit code 1 or 2, or give what it gives
without the damage. After the next run each table and model has the bytes that it had. A traceback, a command that does
not end, two messages, or another result is a fault.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.benchmarks.flipped_runs import RUN, finished_run
from tests.faults.failing_writes import import_all
from tests.line.conftest import write_config, write_log
from thumbline.pipeline.cli.launch import main as thumbline_main

SECONDS: Final = 60
_TEXTS: Final = (".json", ".yaml", ".md", ".jsonl", ".jinja", ".html")
_EXPORTED: Final = "exported"
# What a clock, a place or a person says; the rest is the result. Of the store its rows count, which a table holds.
_FREE: Final = re.compile(
    r"\.lock$|^runs/store/|/report/|manifest\.json$|\.activity\.json$|config\.yaml$|failure\.json$"
)


def _flipped(place: int) -> Callable[[Path, Path], None]:
    def flip(path: Path, _: Path) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) * place // 100] ^= 1 << place % 8
        path.write_bytes(data)

    return flip


def _cut(path: Path, length: Callable[[int], int]) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: length(len(data))])


def _instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _appended(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _with_carriage_returns(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def _of_another_run(path: Path, other: Path) -> None:
    shutil.copy(other, path)


# Each is given the file, and the file of that name in another run.
DAMAGES: Final[dict[str, Callable[[Path, Path], None]]] = {
    "empty": lambda path, _: _cut(path, lambda _: 0),
    "half": lambda path, _: _cut(path, lambda size: size // 2),
    "last byte": lambda path, _: _cut(path, lambda size: size - 1),
    "flip 2%": _flipped(2),
    "flip 50%": _flipped(50),
    "flip 97%": _flipped(97),
    "folder": lambda path, _: _instead(path, Path.mkdir),
    "dangling link": lambda path, _: _instead(path, lambda link: link.symlink_to("nowhere")),
    "pipe": lambda path, _: _instead(path, os.mkfifo),
    "another run's": _of_another_run,
    "zeros": lambda path, _: path.write_bytes(bytes(1 << 20)) and None,
    "appended": _appended,
    "carriage returns": _with_carriage_returns,
}


class Ended(NamedTuple):
    """How a command ended: its exit code, None where it was stopped, and what it printed."""

    code: int | None
    said: str


class Fault(NamedTuple):
    """What is wrong: the file below the folder, how it was damaged, the command, and what it did."""

    file: str
    damage: str
    command: str
    wrong: str
    said: str


def called(command: list[str], folder: Path) -> Ended:
    """A command in a child that works in a folder."""
    log = folder / "said"
    child = os.fork()
    if not child:
        _in_child(command, folder, log)
    ends = time.monotonic() + SECONDS
    # Asked again and again: what is looked for is a child that never ends.
    while time.monotonic() < ends:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return Ended(os.waitstatus_to_exitcode(status), log.read_text("utf-8", "replace"))
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Ended(None, log.read_text("utf-8", "replace"))


def _in_child(command: list[str], folder: Path, log: Path) -> None:
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    sys.argv = ["thumbline", *command]
    code = 70
    try:
        thumbline_main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if os.environ.get("DAMAGES_MODULES"):
            Path(os.environ["DAMAGES_MODULES"]).write_text("\n".join(sys.modules))
        os._exit(code)


def results(folder: Path) -> dict[str, str]:
    """Digests of what is a result below a folder, by path."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    named = {str(path.relative_to(folder)): path for path in paths}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in sorted(named.items())
        if not _FREE.search(name) and ".broken" not in name
    }


def reading(file: str, draw: random.Random) -> list[list[str]]:
    """Commands that read a file, all of which but the last write elsewhere."""
    run, name = f"runs/{RUN}", Path(file).stem
    if file.startswith(_EXPORTED):
        return [["export", run, "--for", "openai", "-o", _EXPORTED]]
    if file.startswith("runs/store"):
        return [
            ["reference", "stats", "runs/store"],
            ["run", "run.yaml", "--from", "reference", "--until", "reference"],
            ["run", "run.yaml"],
        ]
    others = [
        ["evaluate", run, "-o", "out/evaluation"],
        ["export", run, "--for", "openai", "-o", "out/exported"],
        ["compare", run, run, "-o", "out/comparison"],
        ["rejects", run],
        ["status", run, "--json"],
        ["plan", "run.yaml"],
        ["reference", "gc", "runs/store", "--runs", "runs"],
    ]
    table = [["tables", name, "--of", run]] if file.endswith(".parquet") else []
    again = ["run", "run.yaml"] if "/report/" in file else ["run", "run.yaml", "--until", "metrics"]
    return [draw.choice([["status", run], *table]), draw.choice(others), again]


def wrong_in(ended: Ended) -> Iterator[str]:
    """What is wrong with how a command ended, whatever it gave."""
    if ended.code is None:
        yield f"did not end in {SECONDS} s"
    elif ended.code not in (0, 1, 2):
        yield f"exit code {ended.code}"
    if "Traceback" in ended.said or "a fault of thumbline" in ended.said:
        yield "a traceback"
    messages = sum(line.startswith("error: ") for line in ended.said.splitlines())
    if ended.code in (1, 2) and messages != 1:
        yield f"{messages} messages"


class Bench:
    """A finished run in a folder, its copy, and what its commands give undamaged."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.whole, self.other = folder / "place", folder / "whole-place", folder / "other"
        self._finished()
        modules = folder / "modules"
        os.environ["DAMAGES_MODULES"] = str(modules)
        for command in (
            ["export", f"runs/{RUN}", "--for", "openai", "-o", _EXPORTED],
            ["evaluate", f"runs/{RUN}", "-o", "out/evaluation"],
            ["run", "run.yaml", "--from", "sequences"],
        ):
            ended = called(command, self.folder)
            assert ended.code == 0, ended.said
            import_all(modules.read_text())
        del os.environ["DAMAGES_MODULES"]
        shutil.rmtree(self.folder / "out")
        self._run_other()
        for parts in ("runs", _EXPORTED):
            shutil.copytree(self.folder / parts, self.whole / parts)
        self.expected = results(self.whole)
        self.files = sorted(
            str(path.relative_to(self.whole))
            for path in self.whole.rglob("*")
            if path.is_file() and path.stat().st_size
        )
        self.ends: Counter[str] = Counter()
        self._given: dict[str, tuple[Ended, dict[str, str]]] = {}

    def _finished(self) -> None:
        """Two runs, made by a child: whoever forks must not have threads."""
        self.folder.mkdir()
        self.other.mkdir()
        child = os.fork()
        if not child:
            os.chdir(self.folder)
            shutil.rmtree(finished_run(self.folder).whole)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        log = write_log(self.other / "thumbs.jsonl", prompts=24, seed=5)
        write_config(self.other, log, self.folder / "model")

    def _run_other(self) -> None:
        for command in (["run", "run.yaml"], ["export", f"runs/{RUN}", "--for", "openai", "-o", _EXPORTED]):
            ended = called(command, self.other)
            assert ended.code == 0, ended.said

    def restore(self) -> None:
        """Undo all that damages and commands did."""
        for parts in ("runs", _EXPORTED, "out"):
            shutil.rmtree(self.folder / parts, ignore_errors=True)
        for parts in ("runs", _EXPORTED):
            shutil.copytree(self.whole / parts, self.folder / parts)

    def given(self, command: list[str]) -> tuple[Ended, dict[str, str]]:
        """What a command gives without damage; made once."""
        key = " ".join(command)
        if key not in self._given:
            self.restore()
            self._given[key] = called(command, self.folder), _written(self.folder)
        return self._given[key]

    def damaged(self, file: str, damage: str, commands: list[list[str]]) -> Iterator[Fault]:
        """Damage a file and say what commands do wrong; the last one has to leave what was there before."""
        whole = [self.given(command) for command in commands]
        self.restore()
        DAMAGES[damage](self.folder / file, self.other / file)
        if results(self.folder) == self.expected and damage == "another run's":
            return
        for command, (expected, written) in zip(commands, whole, strict=True):
            shutil.rmtree(self.folder / "out", ignore_errors=True)
            ended = called(command, self.folder)
            wrong = list(wrong_in(ended))
            if ended.code == 0:
                now = _written(self.folder)
                wrong += [f"{name} differs" for name in written if now.get(name) != written[name]]
                if command[0] in ("tables", "rejects") and ended.said != expected.said:
                    wrong.append("prints something else")
            if command == commands[-1] and ended.code == 0:
                now = results(self.folder)
                wrong += [f"{name} differs" for name in self.expected if now.get(name) != self.expected[name]]
            if wrong:
                yield Fault(file, damage, " ".join(command), "; ".join(wrong), ended.said)
            self.ends[f"{command[0]} {ended.code}"] += 1


def _written(folder: Path) -> dict[str, str]:
    out = results(folder / "out") if (folder / "out").exists() else {}
    return {name: digest for name, digest in out.items() if name.endswith((".parquet", ".jsonl"))}


def main() -> int:
    """Print each fault and the counts; the number of faults is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, help="a sample of so many of all pairs of a file and a damage")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", default="", help="only files whose path holds this")
    parser.add_argument("--damage", action="append", help="only these; may be repeated")
    asked = parser.parse_args()
    os.environ |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    began, draw, faults, tried = time.monotonic(), random.Random(asked.seed), [], 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["THUMBLINE_CACHE"] = f"{folder}/cache"
        bench = Bench(Path(folder))
        pairs = [
            (file, damage)
            for file in bench.files
            for damage in asked.damage or DAMAGES
            if asked.file in file
            and (damage != "carriage returns" or file.endswith(_TEXTS))
            and (damage != "another run's" or (bench.other / file).exists())
        ]
        draw.shuffle(pairs)
        for file, damage in pairs[: asked.cases]:
            if time.monotonic() - began > asked.seconds:
                break
            tried += 1
            for fault in bench.damaged(file, damage, reading(file, draw)):
                faults.append(fault)
                print(
                    f"{fault.file} | {fault.damage} | {fault.command} | {fault.wrong}\n    {fault.said[-700:]}",
                    flush=True,
                )
        print(f"{tried:,} of {len(pairs):,} damages, {sum(bench.ends.values()):,} commands, {len(faults):,} faults")
        print(dict(sorted(bench.ends.items())))
    return min(len(faults), 100)


if __name__ == "__main__":
    sys.exit(main())
