"""Two processes that train together give what one gives: the same losses, gradients and weights, in every mode."""

import shutil
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch.distributed import FileStore
from torch.multiprocessing import spawn

from tests.soaking import mostly_soaked
from tests.tiny import save_tiny_model
from tests.unit.training.test_trainer import objective, pairs, policy_of, unpaired
from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.errors import ConfigError, TrainingError
from thumbline.pipeline.storage.digests import digest_file
from thumbline.pipeline.training.adapters import with_adapter
from thumbline.pipeline.training.checkpoints import LogRow, Place, keep, take_up
from thumbline.pipeline.training.parallel.dealing import deal
from thumbline.pipeline.training.parallel.shards import remove_shards, shards_in, step_of
from thumbline.pipeline.training.parallel.team import ALONE, Team, joined
from thumbline.pipeline.training.parallel.wrapping import copied, layers_of, shared_out, way_of, whole
from thumbline.pipeline.training.policy import load_policy
from thumbline.pipeline.training.step import measure_rows, take_step


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


LOADING = {"device": "cpu", "dtype": "float32", "gradient_checkpointing": False}


class Case(NamedTuple):
    way: str
    method: str
    adapter: str = "none"
    dtype: str = "float32"


class Course(NamedTuple):
    """What some steps gave: means a step, and the trained weights."""

    steps: list[dict[str, float]]
    held_out: dict[str, float]
    weights: dict[str, torch.Tensor]


def settings(case: Case) -> TrainConfig:
    train = {"method": case.method, "adapter": case.adapter, "dtype": case.dtype, "learning_rate": 1e-2}
    return TrainConfig.model_validate(train | {"micro_batch_rows": 2, "max_grad_norm": 0.5})


def rows_of(case: Case):
    return unpaired(40) if case.method in ("kto", "bco") else pairs(40)


def course(model_dir, case: Case, team: Team) -> Course:
    """Six steps of 5, 4, 3 .. rows: two processes rarely have as many micro-batches of 2."""
    hollow = case.way == "fsdp" and not team.is_first
    policy, config = load_policy(model_dir, **LOADING | {"dtype": case.dtype}, hollow=hollow), settings(case)
    if case.adapter != "none":
        policy = with_adapter(policy, config)
    policy = shared_out(policy, team) if case.way == "fsdp" else copied(policy) if case.way == "ddp" else policy
    made = objective(case.method, 2)
    with torch.no_grad():
        policy.logps([row.chosen if case.method == "dpo" else row.matched for row in rows_of(case)[:2]])
    trained = {name: weight for name, weight in policy.model.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0.0)
    rows, steps, start = rows_of(case), [], 0
    for size in (5, 4, 3, 7, 1, 6):
        steps.append(take_step(policy, made, optimizer, rows[start : start + size], config, team))
        start += size
    held_out = measure_rows(policy, made, rows[start : start + 5], config, team)
    trained = {name: weight for name, weight in policy.model.named_parameters() if weight.requires_grad}
    return Course(steps, held_out, {name: whole(weight.detach()).clone() for name, weight in trained.items()})


def take_part(rank, size, folder, work):
    torch.set_num_threads(1)
    with joined(FileStore(str(folder / "store"), size), rank, size, torch.device("cpu")) as team:
        torch.save(work(team), folder / f"{rank}.pt")


def in_processes(size, folder, work):
    """What `work` gives in each of several processes."""
    spawn(take_part, (size, folder, work), nprocs=size)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


CASES = [
    *(Case("ddp", method) for method in ("dpo", "kto")),
    *(Case("fsdp", method) for method in ("dpo", "kto", "bco")),
    *(Case("fsdp", "dpo", adapter, "bfloat16") for adapter in ("none", "lora")),
    *(Case(way, method, "lora") for way in ("ddp", "fsdp") for method in ("dpo", "kto")),
]


# One of each way, method, adapter and type.
KEPT = [Case("ddp", "dpo"), Case("fsdp", "kto"), Case("fsdp", "dpo", "lora", "bfloat16")]


def courses(team, model_dir, cases):
    return {case: course(model_dir, case, team) for case in cases}


@pytest.fixture(scope="module")
def both(model_dir, tmp_path_factory, request):
    tests = [item for item in request.session.items if "both" in getattr(item, "fixturenames", ())]
    cases = [item.callspec.params["case"] for item in tests]
    return in_processes(2, tmp_path_factory.mktemp("two"), partial(courses, model_dir=model_dir, cases=cases))


@pytest.mark.slow
@pytest.mark.parametrize("case", mostly_soaked(CASES, KEPT), ids="-".join)
def test_two_processes_train_as_one_does(case, both, model_dir):
    alone, together = course(model_dir, case._replace(way="none"), ALONE), both[0][case]
    # In bfloat16 the first step is nearly as near, on a CPU that makes its products of float32's too; then Adam makes
    # whole steps of its gradient's last bits.
    at_first, near, apart = {"float32": (1e-5, 1e-5, 1e-4), "bfloat16": (1e-4, 5e-2, 1e-1)}[case.dtype]
    for one, two in zip(alone.steps, together.steps, strict=True):
        near_here = at_first if one is alone.steps[0] else near
        # What is computed beside, such as padding and stand-ins, hangs on the cut.
        assert two | {"computed_tokens": 0} == pytest.approx(one | {"computed_tokens": 0}, rel=near_here, abs=near_here)
    assert together.held_out == pytest.approx(alone.held_out, rel=near, abs=near)
    for name, weight in alone.weights.items():
        # Adam divides by a gradient's own size: where that is rounding alone, single weights go other ways.
        assert (together.weights[name] - weight).norm() < apart * weight.norm(), name


def trained_in_parts(team, model_dir, folder, way, first, last):
    """Steps `first` to `last` of a training whose checkpoints lie in a folder; the weights afterwards."""
    policy = load_policy(model_dir, **LOADING)
    policy = shared_out(policy, team) if way == "fsdp" else policy
    trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    place = take_up(folder, policy, optimizer, team=team)
    assert (place.step if place else 0) == first
    rows = pairs(40)
    for step in range(first, last):
        take_step(
            policy, objective("dpo", 2), optimizer, rows[5 * step : 5 * step + 5], settings(Case(way, "dpo")), team
        )
    keep(folder, policy, optimizer, Place(last, [LogRow(last, "train", "loss", 0.5)]), team=team)
    return {name: whole(weight.detach()).clone() for name, weight in policy.model.named_parameters()}


def there_and_back(team, model_dir, folder):
    """Two steps shared out, interrupted or not."""
    at_once = trained_in_parts(team, model_dir, folder / "calm", "fsdp", 0, 2)
    trained_in_parts(team, model_dir, folder / "stormy", "fsdp", 0, 1)
    return at_once, trained_in_parts(team, model_dir, folder / "stormy", "fsdp", 1, 2)


def taken_over(team, model_dir, folder):
    """A step shared out, from a checkpoint of one process."""
    return trained_in_parts(team, model_dir, folder, "fsdp", 1, 2)


@pytest.mark.slow
def test_a_sharded_checkpoint_gives_the_same_bits_and_fits_other_numbers_of_processes(model_dir, tmp_path, caplog):
    for name in ("calm", "stormy", "alone", "other", "run"):
        (tmp_path / name).mkdir()
    for at_once, in_parts in in_processes(
        2, tmp_path / "run", partial(there_and_back, model_dir=model_dir, folder=tmp_path)
    ):
        assert all(torch.equal(at_once[name], in_parts[name]) for name in at_once)
    names = [path.name for path in (tmp_path / "stormy").iterdir()]
    assert names == ["shards-00000002"]
    # One process goes on from what two wrote, and two from what one wrote.
    after_three = trained_in_parts(ALONE, model_dir, tmp_path / "stormy", "none", 2, 3)
    assert "was made by 2 processes, and 1 go on from it" in caplog.text
    trained_in_parts(ALONE, model_dir, tmp_path / "alone", "none", 0, 1)
    shutil.copytree(tmp_path / "alone", tmp_path / "other", dirs_exist_ok=True)
    (tmp_path / "again").mkdir()
    [two, _] = in_processes(2, tmp_path / "again", partial(taken_over, model_dir=model_dir, folder=tmp_path / "other"))
    one = trained_in_parts(ALONE, model_dir, tmp_path / "alone", "none", 1, 2)
    three = trained_in_parts(ALONE, model_dir, tmp_path / "alone", "none", 2, 3)
    for name, weight in one.items():
        assert (two[name] - weight).norm() < 1e-4 * weight.norm(), name
        assert (after_three[name] - three[name]).norm() < 1e-4 * three[name].norm(), name


def test_a_sharded_checkpoint_with_a_flipped_bit_is_left_out(tmp_path):
    folder = tmp_path / "shards-00000002"
    folder.mkdir()
    (folder / "part").write_bytes(b"1234")
    facts = {"step": 2, "sizes": {"part": 4}, "digests": {"part": digest_file(folder / "part")}}
    torch.save(facts, folder / "facts.pt")
    assert shards_in(tmp_path, ALONE) == folder
    (folder / "part").write_bytes(b"1235")
    assert shards_in(tmp_path, ALONE) is None


def test_a_sharded_checkpoint_that_is_cut_short_is_left_out(tmp_path, caplog):
    for step in (2, 4):
        folder = tmp_path / f"shards-{step:08d}"
        folder.mkdir()
        (folder / "part").write_bytes(b"1234")
        torch.save({"step": step, "sizes": {"part": 4}}, folder / "facts.pt")
    assert step_of(shards_in(tmp_path, ALONE)) == 4
    (tmp_path / "shards-00000004" / "part").write_bytes(b"12")
    assert step_of(shards_in(tmp_path, ALONE)) == 2
    assert "shards-00000004 is damaged" in caplog.text
    (tmp_path / "shards-00000002" / "facts.pt").write_bytes(b"")
    assert shards_in(tmp_path, ALONE) is None
    remove_shards(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_every_row_of_a_step_is_dealt_once_and_every_process_takes_as_many_turns(size, count):
    rows = pairs(count)
    parts = [rows[start : start + 2] for start in range(0, count, 2)]
    dealt = [deal(parts, rank, size) for rank in range(size)]
    assert len({len(turns) for turns in dealt}) == 1
    own = [turn for turns in dealt for turn in turns if turn.counts]
    assert sorted(row.row_id for turn in own for row in turn.rows) == sorted(row.row_id for row in rows)
    assert sorted(turn.place for turn in own) == list(range(len(own)))
    assert all(0 < len(turn.rows) <= 2 for turns in dealt for turn in turns)
    # A process stands idle only where there is no second row to give away.
    assert len(own) % size == 0 or all(len(turn.rows) == 1 for turn in own)


def test_tokens_are_dealt_evenly():
    parts = [[row] for row in pairs(12)]
    tokens = [
        sum(sequence.length for turn in deal(parts, rank, 3) for row in turn.rows for sequence in row.sequences)
        for rank in range(3)
    ]
    largest = max(sequence.length for part in parts for row in part for sequence in row.sequences)
    assert max(tokens) - min(tokens) <= largest


def bad_row(team, model_dir):
    """One row of five has no finite loss, and one process alone computes it."""
    rows = pairs(5)
    rows[3] = replace(rows[3], weight=float("nan"))
    policy = shared_out(policy_of(model_dir), team)
    optimizer = torch.optim.AdamW(policy.model.parameters())
    try:
        take_step(policy, objective("dpo", 2), optimizer, rows, settings(Case("fsdp", "dpo")), team)
    except TrainingError as error:
        return str(error)
    return "went on"


def without_partners(team, model_dir):
    """A step of KTO in which no row has another prompt's answer, and one in which one row has."""
    policy = load_policy(model_dir, **LOADING)
    policy = shared_out(policy, team) if team.is_several else policy
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-3)
    rows = [replace(row, mismatched=None) for row in unpaired(5)]
    case = settings(Case("fsdp", "kto"))
    steps = (rows, [unpaired(1)[0], *rows[1:]])
    return [take_step(policy, objective("kto", 2), optimizer, step, case, team) for step in steps]


@pytest.mark.slow
def test_rows_without_a_partner_leave_no_process_waiting_for_another(model_dir, tmp_path):
    both = in_processes(2, tmp_path, partial(without_partners, model_dir=model_dir))
    alone = without_partners(ALONE, model_dir)
    for one, two in zip(alone, both[1], strict=True):
        assert two | {"computed_tokens": 0} == pytest.approx(one | {"computed_tokens": 0}, rel=1e-5, abs=1e-5)


@pytest.mark.soak
@pytest.mark.slow
def test_a_loss_that_is_not_finite_in_one_process_stops_all_with_its_row(model_dir, tmp_path):
    said = in_processes(2, tmp_path, partial(bad_row, model_dir=model_dir))
    assert said[0] == said[1]
    assert f"the loss of 1 of 5 rows is not finite (first: {pairs(5)[3].row_id})" in said[0]


def test_the_layers_of_a_model_are_its_blocks_also_below_an_adapter(model_dir):
    plain, adapted = policy_of(model_dir), with_adapter(policy_of(model_dir), settings(Case("ddp", "dpo", "lora")))
    for policy in (plain, adapted):
        assert [type(layer).__name__ for layer in layers_of(policy.model)] == ["LlamaDecoderLayer"] * 2
    with pytest.raises(ConfigError, match="does not say which modules are its layers .*Set it to ddp"):
        layers_of(torch.nn.Linear(2, 2))


def test_auto_shares_out_weights_that_are_all_trained_and_copies_a_frozen_base():
    assert (way_of("auto", "none"), way_of("auto", "lora"), way_of("auto", "dora")) == ("fsdp", "ddp", "ddp")
    assert [way_of(way, "none") for way in ("none", "ddp", "fsdp")] == ["none", "ddp", "fsdp"]
