"""The run that measures a GPU: each of its lines comes out on tiny shapes, and none takes the others with it."""

import json

import pytest
import torch

from tests.benchmarks import on_gpu
from tests.benchmarks.gpu.machine import Deadline, Line, Machine, run_ways
from tests.benchmarks.gpu.shapes import DRY_SHAPES, SHAPES, Flops, flops_of, random_model
from tests.benchmarks.gpu.steps import SETTINGS

CPU = torch.device("cpu")
MACHINE = Machine(CPU, peak=1e12, dry=True)


@pytest.mark.soak
@pytest.mark.slow
def test_every_line_of_the_dry_run_comes_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["on_gpu", "--dry-run", "--json", str(tmp_path / "figures.json")])
    assert on_gpu.main() == 0
    lines = json.loads((tmp_path / "figures.json").read_text())["lines"]
    assert {line["part"] for line in lines} == {"head", "step", "scoring", "plan"}
    assert sum(line["part"] == "step" for line in lines) == len(SETTINGS)
    for line in lines:
        found = line["planned_gib"] if line["part"] == "plan" else line["seconds"]
        assert (found is None) == line["note"].startswith("skipped"), line
    assert all(line["way"] in capsys.readouterr().out for line in lines[:1])


def test_a_run_without_a_gpu_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["on_gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        on_gpu.main()
    assert "--dry-run" in capsys.readouterr().err


def failing(error):
    def measure():
        raise error

    return measure


def test_what_does_not_fit_or_fails_leaves_the_rest():
    ways = [
        ("large", failing(torch.OutOfMemoryError("out of memory"))),
        ("broken", failing(RuntimeError("no such kernel\nand more"))),
        ("fine", lambda: Line("part", "fine", 0.5)),
    ]
    large, broken, fine = run_ways("part", iter(ways), MACHINE, Deadline(60.0))
    assert large.note == "does not fit"
    assert broken.note == "FAILED: RuntimeError: no such kernel"
    assert fine.seconds == 0.5


def test_no_way_begins_after_its_time():
    (line,) = run_ways("part", iter([("late", lambda: Line("part", "late", 0.5))]), MACHINE, Deadline(-1.0))
    assert line.seconds is None
    assert "left out" in line.note


def test_a_lines_rates_follow_from_its_time():
    cells = Line("step", "way", seconds=0.5, tokens=1000, flops=2e11, gib=1.0).cells(peak=1e12)
    assert cells[2:6] == ("500.0", "2,000", "40.0%", "1.00")


def test_the_least_work_of_a_pass_is_counted_by_hand():
    """Ten body weights, five of the head, scores of width 3; 4 tokens of which 2 are scored, one sequence of 4."""
    trained, frozen = Flops(10, 5, 3, trained=True), Flops(10, 5, 3, trained=False)
    forward = 2 * (10 * 4 + 5 * 2 + 3 * 16)
    assert trained.forward(4, 2, 16) == forward
    # Weights: three products of one size; scores: two in the pass, four in its gradient, half of each masked.
    assert trained.both(4, 2, 16) == 3 * 2 * (10 * 4 + 5 * 2) + 6 * 3 * 16
    assert frozen.both(4, 2, 16) == 2 * 2 * (10 * 4 + 5 * 2) + 6 * 3 * 16


def test_the_weights_of_a_shape_are_its_layers_products():
    shape = DRY_SHAPES[0]
    counted = flops_of(random_model(shape, torch.float32, CPU), trained=True)
    # Two layers: queries and outputs 64 x 64, keys and values 64 x 32, three products of 64 x 96.
    assert counted.body == 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96)
    assert counted.head == 64 * 300
    assert counted.scores == 2 * 64


@pytest.mark.parametrize(("shape", "billions"), [(SHAPES[0], 8.03), (SHAPES[1], 1.236), (SHAPES[2], 0.494)])
def test_the_shapes_have_the_sizes_of_their_names(shape, billions):
    model = random_model(shape, torch.bfloat16, torch.device("meta"))
    assert sum(weight.numel() for weight in model.parameters()) / 1e9 == pytest.approx(billions, rel=1e-3)
