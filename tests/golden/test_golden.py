"""No table, report or export changes unnoticed: what is made now is what the golden files hold."""

from pathlib import Path

import pytest

from tests.golden import files
from tests.golden.comparison import problems
from tests.golden.fixtures import LOGS
from tests.golden.groups import GROUPS
from thumbline.pipeline.importers.registry import IMPORTERS
from thumbline.pipeline.line import STAGE_NAMES

SLOW = {"trained": [pytest.mark.slow]}


@pytest.mark.parametrize("group", [pytest.param(name, marks=SLOW.get(name, [])) for name in GROUPS])
def test_what_is_made_is_what_was_made(tmp_path: Path, group: str) -> None:
    found = problems(files.read(group), GROUPS[group](tmp_path))
    assert not found, "\n" + "\n".join(problem.message for problem in found)


def test_every_format_has_a_golden_log() -> None:
    assert {log.format for log in LOGS.values()} == {"hub", *IMPORTERS}
    assert set(files.read("formats")) == set(LOGS)


def test_every_stage_is_golden() -> None:
    assert {name.removeprefix("dpo: ") for name in files.read("trained") if name.startswith("dpo: ")} == set(
        STAGE_NAMES
    )
    named = {name.rpartition(": ")[2] for name in files.read("prepared")}
    assert named == set(STAGE_NAMES[: STAGE_NAMES.index("sequences") + 1])
