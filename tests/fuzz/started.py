"""Damaged logs under `thumbline init`: a run file that loads and says what was found, or one message."""

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.logs import examples
from tests.fuzz.operators import chance, damaged_rows, file_of, pick
from tests.fuzz.refusing import refused
from thumbline.pipeline.cli.init import init_command
from thumbline.pipeline.config import load_config
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.ingest.plan import plan
from thumbline.pipeline.reading.inputs import expand_inputs

# Columns under other names and votes in other words: what `init` is there for.
_PROMPTS = ("prompt", "question", "Frage", "input", "text", "k" * 300, "[x]", "a: b", "# c", "", "\x1b[31m")
_ANSWERS = ("response", "answer", "output", "Antwort", "completion", "reply", "'", '"', "{x}")
_VOTES = ("feedback", "stars", "rating", "label", "is_good", "vote", "Bewertung", "=", ",")
_WORDS = (
    1,
    5,
    0,
    "1",
    "good",
    "bad",
    "👍",
    "👎",
    True,
    False,
    None,
    "",
    "a,b",
    "it's",
    ">=4",
    "null",
    "[red]",
    4.5,
    "\x00",
)


class Started:
    """Logs of every format, and tables of a shop's own columns."""

    def make(self, random: np.random.Generator) -> Case:
        """A damaged log."""
        every = examples()
        others = [row for rows in every[pick(random, list(every))].values() for row in rows]
        if chance(random, 0.5):
            names = [pick(random, among) for among in (_PROMPTS, _ANSWERS, _VOTES)]
            words = [pick(random, _WORDS) for _ in range(3)]
            rows = [
                dict(zip(names, (f"What about {place}?", f"Do {place}.", pick(random, words)), strict=True))
                for place in range(int(random.integers(1, 12)))
            ]
            files = {"log": rows}
        else:
            files = dict(every[pick(random, list(every))])
        written = dict(
            file_of(stem, damaged_rows(rows, random, others) if chance(random, 0.5) else rows, random)
            for stem, rows in files.items()
        )
        return Case(
            written, {"yes": chance(random, 0.9), "model": pick(random, [None, "demo", "", "a b", "x: y", "#"])}
        )

    def read(self, case: Case, folder: Path) -> Outcome:
        """Write the run file as the command does, and load it."""
        place = folder / "run.yaml"
        inputs = [str(folder / name) for name in case.files]
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            told = refused(lambda: init_command(inputs, place, case.settings["yes"], case.settings["model"]))
        if told is not None:
            assert not place.exists(), f"refused ({told[:200]}), and there is a run file"
            return "refused"
        try:
            events = load_config(place).events
            assert plan(expand_inputs(events.inputs), events)
        except PipelineError as error:
            raise AssertionError(f"the run file does not hold: {error}") from error
        return "read"

    def settle(self) -> None:
        """Nothing is left."""
