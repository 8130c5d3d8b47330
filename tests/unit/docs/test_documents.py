"""What the documents say holds: examples run; paths, links, commands, make targets and settings are there."""

import re
import tomllib
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from typer.main import get_command

from tests.evaluator_rows import scored_pairs
from thumbline.evaluators import EVALUATORS, EvaluationSettings, evaluate
from thumbline.losses import LOSSES
from thumbline.losses.registry import ROLLOUTS
from thumbline.pipeline.cli.main import app
from thumbline.pipeline.config import RunConfig
from thumbline.pipeline.line import STAGES

ROOT = Path(__file__).parents[3]
DOCUMENTS = (
    "README.md",
    "pipeline/README.md",
    "losses/README.md",
    "evaluators/README.md",
    "data/README.md",
    ".github/CONTRIBUTING.md",
    ".github/CHANGELOG.md",
    ".github/skills/thumbline/SKILL.md",
    *sorted(f"pipeline/docs/{path.name}" for path in (ROOT / "pipeline" / "docs").glob("*.md")),
)
# Names in the worked examples of what somebody would add.
INVENTED = {"losses/squared_hinge.py", "evaluators/decisive.py", "pipeline/importers/stars_log.py"}
TOP = ("pipeline", "losses", "evaluators", "tests", "data")
PACKAGES = {"losses/README.md": "thumbline.losses", "evaluators/README.md": "thumbline.evaluators"}


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def prose(document: str) -> str:
    """The document without its fenced blocks."""
    return re.sub(r"```.*?```", "", text_of(document), flags=re.DOTALL)


def run_blocks(document: str) -> dict[str, object]:
    """What the document's Python blocks define, run one after the other inside the package that they are for."""
    module = ModuleType(f"{PACKAGES[document]}.example")
    module.__dict__["__package__"] = PACKAGES[document]
    for block in re.findall(r"```python\n(.*?)```", text_of(document), flags=re.DOTALL):
        exec(compile(block, document, "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        file = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert file.exists(), f"{document}: {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings], target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_are_there(document):
    named = re.findall(rf"(?<![\w/.-])((?:{'|'.join(TOP)})/[\w./-]*\w/?)", prose(document))
    for path in set(named) - INVENTED:
        whole = ROOT / path
        assert whole.exists() or path.endswith("/x.py"), f"{document}: {path}"


def test_paths_inside_the_pipeline_are_there():
    named = re.findall(r"`([a-z_]+/(?:[\w./]*\w)?)`", prose("pipeline/README.md"))
    assert len(named) > 10
    for path in named:
        assert (ROOT / "pipeline" / path).exists() or (ROOT / path).exists(), path


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_are_there(document):
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|^    )make ([a-z-]+)", text_of(document), flags=re.MULTILINE)) <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_there(document):
    commands = set(get_command(app).commands)
    named = re.findall(r"(?:`|^ {4,})thumbline ([a-z][a-z-]*)", text_of(document), flags=re.MULTILINE)
    assert set(named) <= commands


@pytest.mark.parametrize("document", DOCUMENTS)
def test_settings_are_there(document):
    sections = "|".join(RunConfig.model_fields)
    for section, key in re.findall(rf"`({sections})\.([a-z_]+)(?=[`:])", text_of(document)):
        # A stage and its section have the same name as its files.
        if key in ("parquet", "html", "json"):
            continue
        fields = getattr(RunConfig.model_fields[section].annotation, "model_fields", {})
        assert key in fields, f"{document}: {section}.{key}"


def test_the_rooms_are_those_of_the_import_contract():
    block = re.search(r"```text\n(.*?)```", text_of("pipeline/README.md"), flags=re.DOTALL)
    assert block is not None
    drawn = [re.split(r"\s{2,}", line)[0].split() for line in block[1].splitlines()]
    for room in (room for floor in drawn for room in floor):
        path = ROOT / "pipeline" / room
        assert path.is_dir() if room.endswith("/") else path.with_suffix(".py").is_file(), room
    contracts = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "layers")
    held = [[name.removeprefix("thumbline.pipeline.") for name in floor.split(" | ")] for floor in layers]
    rooms = [[room for room in floor if not room.startswith("thumbline.")] for floor in held]
    assert [sorted(room.rstrip("/") for room in floor) for floor in drawn] == [sorted(r) for r in rooms if r]


def test_the_stages_are_those_of_the_line():
    rows = text_of("pipeline/README.md").split("## The line")[1].split("## A stage")[0]
    assert re.findall(r"^\| `(\w+)` \|", rows, flags=re.MULTILINE) == [stage.name for stage in STAGES]


@pytest.mark.parametrize(
    ("document", "heading", "known"),
    [
        ("losses/README.md", "## Methods", {**LOSSES, **ROLLOUTS}),
        ("evaluators/README.md", "## What each measures", EVALUATORS),
    ],
)
def test_every_one_has_its_row(document, heading, known):
    table = text_of(document).split(f"{heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, flags=re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"\w+", cell)] == list(known)


def test_the_examples_of_losses_run():
    names = run_blocks("losses/README.md")
    spec = names["SPEC"]
    batch = names["PairLogps"](
        *(names[name] for name in ("policy_chosen", "policy_rejected", "ref_chosen", "ref_rejected"))
    )
    # Log-ratios 1 - 0 and 0 - 1: margins of 0.1 and -0.1 at beta 0.1.
    assert spec.function(batch, spec.config()).losses.tolist() == pytest.approx([0.81, 1.21])


def test_the_examples_of_evaluators_run(monkeypatch):
    names = run_blocks("evaluators/README.md")
    monkeypatch.setitem(EVALUATORS, "decisive", names["SPEC"])
    made = evaluate(scored_pairs([2.0, -1.5, 0.25, 0.0]), None, EvaluationSettings(beta=1.0), ["decisive"])
    assert made.filter(pl.col("metric") == "decisive")["value"].item() == 0.5


def test_the_format_of_the_guide_is_the_one_that_is_tried():
    tried = text_of("tests/line/test_new_format.py").split("FILE = '''")[1].split("'''")[0]
    (block,) = re.findall(r"```python\n(.*?)```", text_of(".github/CONTRIBUTING.md"), flags=re.DOTALL)
    assert block == tried
