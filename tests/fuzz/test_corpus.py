"""Inputs that were faults once, and a few new ones for everything that reads files."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from tests.fuzz.campaign import Campaign, TooLongError, bounded, laid_out
from tests.fuzz.cases import Case, Outcome, Target, keep, kept
from tests.fuzz.targets import TARGETS

_CORPUS: Final = Path(__file__).with_name("corpus")
_FOUND: Final = sorted(path for target in _CORPUS.iterdir() for path in target.iterdir())
# How many new ones: one in a hundred was a fault when there were any.
_NEW: Final = 12
# Of what takes a second each.
_SLOW: Final = pytest.mark.slow
# CPU time of an input and of what it imports first, where a core is a fifth of a usual one.
_SLOW_MACHINE: Final = 100.0
_FEW: Final = {"plan": 1, "model": 2, "splits": 2, "init": 4, "compare": 4}


@pytest.mark.parametrize(
    "folder",
    [pytest.param(path, marks=_SLOW if path.parent.name == "plan" else ()) for path in _FOUND],
    ids=lambda path: f"{path.parent.name}-{path.name}",
)
def test_what_was_a_fault_is_none(folder: Path, tmp_path: Path) -> None:
    target, case = TARGETS[folder.parent.name](), kept(folder)
    with laid_out(case, tmp_path) as place, bounded(_SLOW_MACHINE):
        target.read(case, place)
    target.settle()


@pytest.mark.parametrize("name", [pytest.param(name, marks=_SLOW if name == "plan" else ()) for name in TARGETS])
def test_new_inputs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUMBLINE_CACHE", str(tmp_path / "cache"))
    inputs = _FEW.get(name, _NEW)
    tally = Campaign(TARGETS, tmp_path, tmp_path / "found", seed=0, most_cpu_seconds=_SLOW_MACHINE).feed(
        name, 300.0, inputs
    )
    assert not tally.faults
    assert tally.outcomes.total() == inputs


class _Broken:
    """Cannot read an empty file, nor many files that hold an x."""

    def __init__(self) -> None:
        self._held = b""

    def make(self, random: np.random.Generator) -> Case:
        return Case({"a.txt": [b"", b"x", b"y"][int(random.integers(0, 3))]}, {"a": 1})

    def read(self, case: Case, folder: Path) -> Outcome:
        data = (folder / "a.txt").read_bytes()
        if not data:
            raise ValueError("empty")
        self._held += data
        return "read"

    def settle(self) -> None:
        held, self._held = self._held, b""
        assert b"x" not in held


def test_faults_are_counted_and_their_inputs_kept(tmp_path: Path) -> None:
    targets: dict[str, type[Target]] = {"broken": _Broken}
    tally = Campaign(targets, tmp_path, tmp_path / "found", seed=0).feed("broken", 60.0, 30)
    kinds = {label.partition(" ")[0] for label in tally.faults}
    assert kinds == {"ValueError", "AssertionError"}
    found = [kept(path) for path in (tmp_path / "found" / "broken").iterdir()]
    assert {case.files["a.txt"] for case in found} == {b"", b"x"}
    assert all(case.settings == {"a": 1} for case in found)


def test_an_input_that_takes_long_is_a_fault() -> None:
    with pytest.raises(TooLongError, match="more than 0.05 CPU-seconds"), bounded(0.05):
        while True:
            pass


def test_a_case_is_kept_as_it_is(tmp_path: Path) -> None:
    case = Case({"a b.jsonl": b"\xff\x00", "c": b""}, {"events": {"format": "trl"}})
    keep(case, tmp_path / "one")
    assert kept(tmp_path / "one") == case
    assert kept(tmp_path / "one").name == case.name
