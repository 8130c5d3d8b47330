"""Run files and overrides, damaged: settings that are kept and read as the same, or one message."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.operators import VALUES, chance, damaged_rows, pick, wounded
from thumbline.pipeline import config as package
from thumbline.pipeline.config import RunConfig, load_config
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.line.saved import load_saved_config, save_config

_RUN_FILES: Final = sorted((Path(package.__file__).parents[1] / "configs").glob("*.yaml"))
# What YAML has that settings do not want.
ODD: Final = (
    "&a [*a]", "*none", "!!python/object/apply:os.system [ls]", "!!set {a, b}", "!!binary aGk=", "2001-99-99", "1:2:3",
    ".nan", "-.inf", "0o17", "0x1f", "1_000", "1e400", "9" * 5_000, "~", "yes", "<<: {a: 1}", "? [a]\n: b", "[" * 2_000,
    "{a: " * 2_000, "'", '"\\ud800"', '"\\x00"', "|\n  text", "@x", "`x`", "%TAG", "\t", "--- 1\n--- 2", "\ufeff1",
    "{a: 1, a: 2}", "2001-01-01T00:00:00+99:99", "k" * 100_000, "!", "!<x> 1", "1e-7", "-1", "18446744073709551616",
)  # fmt: skip
_ALIASES: Final = "x0: &x0 [a, a]\n" + "".join(f"x{n + 1}: &x{n + 1} [*x{n}, *x{n}]\n" for n in range(40))


class Settings:
    """Run files."""

    def __init__(self) -> None:
        self._texts = [path.read_text(encoding="utf-8") for path in _RUN_FILES]
        self._documents = [yaml.safe_load(text) for text in self._texts]
        self._keys = sorted({key for document in self._documents for key in _keys(document)})

    def make(self, random: np.random.Generator) -> Case:
        """A run file with another value, another text or other bytes; some with overrides."""
        text = self._text(random)
        data = text.encode("utf-8", "surrogatepass")
        if chance(random, 0.3):
            data = wounded(data, random)
        sets = [
            f"{pick(random, self._keys)}={pick(random, [*ODD, *map(str, VALUES)])}"
            for _ in range(2)
            if chance(random, 0.2)
        ]
        return Case({"run.yaml": data}, {"set": sets})

    def _text(self, random: np.random.Generator) -> str:
        place = int(random.integers(0, len(self._texts)))
        if chance(random, 0.5):
            (document,) = damaged_rows([self._documents[place]], random, self._documents)[:1]
            return yaml.safe_dump(document, sort_keys=False, allow_unicode=chance(random, 0.5))
        lines = self._texts[place].splitlines()
        for _ in range(int(random.integers(0, 3))):
            at = int(random.integers(0, len(lines)))
            key, colon, _ = lines[at].partition(": ")
            lines[at] = key + colon + pick(random, ODD)
        return "\n".join(lines) + ("\n" + _ALIASES if chance(random, 0.02) else "\n")

    def read(self, case: Case, folder: Path) -> Outcome:
        """Read as the command reads, then as a run keeps it."""
        try:
            config = load_config(folder / "run.yaml", tuple(case.settings["set"]))
        except PipelineError as error:
            assert str(error).strip(), "an error without a word"
            return "refused"
        check_kept(config, folder / "kept")
        return "read"

    def settle(self) -> None:
        """Nothing is left."""


def check_kept(config: RunConfig, folder: Path) -> None:
    """What is kept is read as what it was, but for its place; secrets are kept as digests."""
    moved = config.model_copy(update={"runs": str(folder), "name": "run"})
    moved.run_dir.mkdir(parents=True)
    save_config(moved, "thumbline run run.yaml")
    again = load_saved_config(moved.run_dir)
    given, found = (json.dumps(one.model_dump(mode="json"), sort_keys=True) for one in (moved, again))
    assert given == found or "user_key" in given, f"kept as {found}, given {given}"


def _keys(document: Any, prefix: str = "") -> list[str]:
    found = []
    for key, value in document.items() if isinstance(document, dict) else ():
        found += [f"{prefix}{key}", *_keys(value, f"{prefix}{key}.")]
    return found
