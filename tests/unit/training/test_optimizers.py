"""Each optimiser on each type of weights: it trains, its state goes through checkpoints, and float32 is followed."""

import itertools
import sys

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tests.interruption import run_until
from tests.tiny import save_tiny_model
from tests.unit.training.test_trainer import config, objective, pairs
from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.errors import ConfigError, MissingDependencyError
from thumbline.pipeline.training.adapters import with_adapter
from thumbline.pipeline.training.checkpoints import load_checkpoint, save_model
from thumbline.pipeline.training.optimizers import make_optimizer
from thumbline.pipeline.training.policy import load_policy
from thumbline.pipeline.training.trainer import Trainer

STOCHASTIC = {"weights": "bfloat16", "dtype": "bfloat16"}
TYPES = {"float32": {}, "stochastic": STOCHASTIC, "master": STOCHASTIC | {"rounding": "master"}}
OPTIMIZERS = ("adamw", "adamw_8bit", "adafactor")
WAYS = list(itertools.product(OPTIMIZERS, TYPES))


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def settings(optimizer="adamw", types="float32", **other):
    if optimizer == "adamw_8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    return config(**({"optimizer": optimizer, "learning_rate": 1e-3} | TYPES[types] | other))


def policy_of(model_dir, train):
    policy = load_policy(
        model_dir, device="cpu", dtype=train.dtype, gradient_checkpointing=False, weights=train.weights
    )
    return policy if train.adapter == "none" else with_adapter(policy, train)


def trained(model_dir, folder, train, rows=None, stop_after=None):
    """The trained policy and its log; None for the log where it was stopped."""
    folder.mkdir(exist_ok=True)
    policy, rows = policy_of(model_dir, train), rows or pairs(10)
    trainer = Trainer(policy, objective("dpo", train.micro_batch_rows), train, rows, rows[:2], folder)
    return policy, run_until(trainer, stop_after)


def losses(log, phase="train"):
    return torch.tensor([row.value for row in log if (row.phase, row.metric) == (phase, "loss")])


@pytest.mark.parametrize(("optimizer", "types"), WAYS)
def test_a_stopped_run_ends_with_the_same_bits(model_dir, tmp_path, optimizer, types):
    train = settings(optimizer, types)
    calm, calm_log = trained(model_dir, tmp_path / "calm", train)
    # Stopped twice, between checkpoints: two steps are done again, from the state that was kept.
    trained(model_dir, tmp_path / "stormy", train, stop_after=3)
    assert load_checkpoint(tmp_path / "stormy").step == 2
    trained(model_dir, tmp_path / "stormy", train, stop_after=5)
    assert load_checkpoint(tmp_path / "stormy").step == 4
    stormy, stormy_log = trained(model_dir, tmp_path / "stormy", train)
    assert stormy_log == calm_log
    ours, theirs = stormy.model.state_dict(), calm.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_adapter_is_trained_by_each_and_resumes(model_dir, tmp_path, optimizer):
    pytest.importorskip("peft", reason="peft is not installed")
    train = settings(optimizer, adapter="lora", learning_rate=1e-2, weights="bfloat16", dtype="bfloat16")
    calm, calm_log = trained(model_dir, tmp_path / "calm", train)
    trained(model_dir, tmp_path / "stormy", train, stop_after=3)
    stormy, stormy_log = trained(model_dir, tmp_path / "stormy", train)
    assert stormy_log == calm_log
    ours, theirs = stormy.model.state_dict(), calm.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("optimizer", "types"), [way for way in WAYS if way[1] != "float32"])
def test_losses_with_bfloat16_weights_follow_those_of_float32(model_dir, tmp_path, optimizer, types):
    rows = pairs(24)
    runs = {
        kind: losses(trained(model_dir, tmp_path / kind, settings(optimizer, kind, **LONG), rows)[1])
        for kind in ("float32", types)
    }
    assert len(runs[types]) == 24
    drop = float(runs["float32"][0] - runs["float32"][-6:].mean())
    assert drop > 0.2
    # An epoch's mean is within a tenth of what training takes off it.
    torch.testing.assert_close(
        runs[types].view(4, 6).mean(1), runs["float32"].view(4, 6).mean(1), atol=drop / 10, rtol=0
    )


LONG = {"epochs": 4, "learning_rate": 1e-3, "dtype": "bfloat16", "schedule": "constant"}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_that_bfloat16_rounds_away_still_train_it(model_dir, tmp_path, optimizer):
    # Weights of about 0.02 have neighbours 6e-5 to 1e-4 apart: a step of 1e-6 moves none of them by itself.
    train = settings(optimizer, "stochastic", learning_rate=1e-6, epochs=4)
    before = policy_of(model_dir, train).model.model.layers[0].mlp.up_proj.weight.detach()
    after = trained(model_dir, tmp_path / "run", train)[0].model.model.layers[0].mlp.up_proj.weight.detach()
    moved = float((before != after).float().mean())
    assert 0.001 < moved < 0.5


@pytest.mark.parametrize(("optimizer", "types"), [way for way in WAYS if way != ("adamw", "float32")])
def test_each_kind_changes_what_is_trained(model_dir, tmp_path, optimizer, types):
    usual = settings(dtype=settings(optimizer, types).dtype)
    one, other = (
        losses(trained(model_dir, tmp_path / str(number), train)[1], "validation")[-1]
        for number, train in enumerate((usual, settings(optimizer, types)))
    )
    assert one != other


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_is_decoupled_in_each(model_dir, tmp_path, optimizer):
    weights = [
        trained(model_dir, tmp_path / str(decay), settings(optimizer, max_steps=1, weight_decay=decay))[0]
        .model.model.layers[0]
        .mlp.up_proj.weight.detach()
        for decay in (0.0, 0.5)
    ]
    untrained = policy_of(model_dir, settings()).model.model.layers[0].mlp.up_proj.weight.detach()
    torch.testing.assert_close(weights[0] - weights[1], 0.5 * 1e-3 * untrained, atol=1e-6, rtol=1e-2)


def state_bytes(optimizer):
    """Bytes of a checkpoint's tensors whose size goes with that of a weight."""

    def sizes(value):
        if isinstance(value, torch.Tensor):
            yield value.numel() * value.element_size() if value.numel() > 256 else 0
        elif isinstance(value, dict):
            yield from (size for one in value.values() for size in sizes(one))
        elif isinstance(value, list):
            yield from (size for one in value for size in sizes(one))

    return sum(sizes(optimizer.state_dict()))


# Bytes of state a parameter, as the module's table has it less weights and gradients.
STATE = {"adamw": 8, "adamw_8bit": 2, "adafactor": 0}


@pytest.mark.parametrize(("optimizer", "types"), WAYS)
def test_state_takes_the_bytes_that_are_written(model_dir, optimizer, types):
    train = settings(optimizer, types)
    policy = policy_of(model_dir, train)
    made, weights = make_optimizer(policy, train), list(policy.model.parameters())
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    made.step()
    master, embeddings = 4 if types == "master" else 0, policy.model.get_input_embeddings().weight
    expected = 0
    for weight in (weight for weight in weights if weight.numel() > 256):
        # The library keeps the state of small weights in float32, and that of embeddings is asked for so.
        exact = optimizer == "adamw_8bit" and (weight is embeddings or weight.numel() < 4096)
        expected += ((8 if exact else STATE[optimizer]) + master) * weight.numel()
    # A number for each block of 256 or for each row and column is above it.
    assert expected <= state_bytes(made) <= expected + 0.02 * sum(weight.numel() for weight in weights)


def test_what_is_written_has_the_type_that_was_on_disk(model_dir, tmp_path):
    policy, _ = trained(model_dir, tmp_path / "run", settings("adamw", "stochastic"))
    expected = {name: weight.float() for name, weight in policy.model.state_dict().items()}
    save_model(policy, model_dir, tmp_path / "model")
    written = policy_of(tmp_path / "model", settings()).model.state_dict()
    assert all(torch.equal(written[name], expected[name]) for name in expected)


def test_without_bitsandbytes_the_command_that_installs_it_is_said(model_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    train = config(optimizer="adamw_8bit")
    with pytest.raises(MissingDependencyError, match=r"adamw_8bit needs .* pip install 'thumbline\[quantised\]'"):
        make_optimizer(policy_of(model_dir, train), train)


@pytest.fixture
def mesh():
    """A mesh of one process."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("optimizer", "types"), WAYS)
def test_weights_that_are_shared_out_are_stepped_by_plain_adamw_alone(model_dir, mesh, optimizer, types):
    train = settings(optimizer, types)
    policy = policy_of(model_dir, train)
    fully_shard(policy.scorer, mesh=mesh)
    if (optimizer, types) == ("adamw", "float32"):
        assert isinstance(make_optimizer(policy, train), torch.optim.AdamW)
    else:
        with pytest.raises(ConfigError, match="take each weight whole.*train.distributed: ddp"):
            make_optimizer(policy, train)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"weights": "bfloat16", "dtype": "float32"}, "set dtype: bfloat16, or weights: float32"),
        ({"rounding": "master"}, "rounding is read where bfloat16 weights are trained"),
        ({"rounding": "master", "weights": "bfloat16", "adapter": "lora"}, "rounding is read where"),
        ({"optimizer": "adam"}, "adamw"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(train, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**train)
