import dataclasses

import pytest
import torch

from tests.interruption import run_until
from tests.tiny import save_tiny_model
from thumbline.losses import LOSSES, Term, loss_method, loss_spec
from thumbline.pipeline.config import RunConfig, TrainConfig, build_config
from thumbline.pipeline.errors import ConfigError, InputError, TrainingError
from thumbline.pipeline.training import batches
from thumbline.pipeline.training.checkpoints import load_checkpoint
from thumbline.pipeline.training.measured import Tally
from thumbline.pipeline.training.methods import check_methods
from thumbline.pipeline.training.objective import Objective
from thumbline.pipeline.training.policy import choose_device, load_policy
from thumbline.pipeline.training.rows import PairRow, TrainingSequence, UnpairedRow
from thumbline.pipeline.training.step import measure_rows
from thumbline.pipeline.training.trainer import Trainer, learning_rate


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


def policy_of(model_dir, dtype="float32"):
    return load_policy(model_dir, device="cpu", dtype=dtype, gradient_checkpointing=False)


def sequence(seed, prompt=6, completion=5, logps=-20.0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 300, (prompt + completion,), generator=generator).tolist()
    return TrainingSequence(f"{seed:032x}", tuple(ids[:prompt]), tuple(ids[prompt:]), logps)


def pairs(count):
    return [
        PairRow(f"{n:032x}", sequence(2 * n, completion=4 + n % 5), sequence(2 * n + 1), 1.0, 1.0) for n in range(count)
    ]


def unpaired(count):
    return [
        UnpairedRow(
            f"{n:032x}",
            sequence(2 * n, completion=3 + n % 4),
            sequence(2 * n + 1),
            n % 3 > 0,
            1.0,
            0.9 if n % 3 else 0.2,
        )
        for n in range(count)
    ]


def objective(method, micro_batch_rows, **settings):
    return Objective((Term(method, settings=settings),), micro_batch_rows)


def gradient(model_dir, method, rows, micro_batch_rows):
    policy = policy_of(model_dir)
    made = objective(method, micro_batch_rows)
    statistic = made.step_statistic(policy, rows)
    for part in batches.micro_batches(rows, micro_batch_rows):
        (made.measure(policy, part, statistic).losses.sum() / len(rows)).backward()
    return torch.cat([parameter.grad.flatten() for parameter in policy.model.parameters()])


@pytest.mark.parametrize("method", [name for name in LOSSES if not loss_method(name, {}).takes_whole_steps])
def test_gradient_accumulation_is_the_whole_batch(model_dir, method):
    rows = pairs(8) if loss_spec(method).paired else unpaired(8)
    whole = gradient(model_dir, method, rows, 8)
    for micro in (1, 3):
        torch.testing.assert_close(gradient(model_dir, method, rows, micro), whole, atol=1e-6, rtol=1e-4)


def test_padding_changes_no_log_prob(model_dir):
    policy = policy_of(model_dir)
    sequences = [sequence(1, completion=3), sequence(2, completion=12)]
    with torch.no_grad():
        together = policy.logps(sequences).logps
        alone = torch.cat([policy.logps([one]).logps for one in sequences])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)


def config(**other):
    return TrainConfig(
        **({"batch_rows": 4, "micro_batch_rows": 2, "epochs": 2, "checkpoint_every": 2, "dtype": "float32"} | other)
    )


def trained(model_dir, folder, settings, rows, stop_after=None):
    policy = policy_of(model_dir)
    trainer = Trainer(policy, objective("dpo", settings.micro_batch_rows), settings, rows, rows[:2], folder)
    log = run_until(trainer, stop_after)
    return policy.model.state_dict(), log


def test_resuming_gives_the_same_bytes(model_dir, tmp_path):
    rows, settings = pairs(10), config()
    calm, calm_log = trained(model_dir, tmp_path / "calm", settings, rows)
    (tmp_path / "stormy").mkdir()
    trained(model_dir, tmp_path / "stormy", settings, rows, stop_after=3)
    assert load_checkpoint(tmp_path / "stormy").step == 2
    stormy, stormy_log = trained(model_dir, tmp_path / "stormy", settings, rows)
    assert stormy_log == calm_log
    assert all(torch.equal(stormy[name], calm[name]) for name in calm)


def test_every_row_is_seen_once_an_epoch_in_a_seeded_order():
    rows = pairs(10)
    epoch = [row for step in range(3) for row in batches.step_rows(rows, step, 4, seed=0)]
    assert sorted(row.row_id for row in epoch) == [row.row_id for row in rows]
    again = [row for step in range(3) for row in batches.step_rows(rows, step, 4, seed=0)]
    other = [row for step in range(3) for row in batches.step_rows(rows, step, 4, seed=1)]
    next_epoch = [row for step in range(3, 6) for row in batches.step_rows(rows, step, 4, seed=0)]
    assert epoch == again
    assert epoch not in (other, next_epoch)


def test_learning_rate_rises_then_falls():
    settings = config(learning_rate=1.0, warmup_fraction=0.2)
    assert [learning_rate(step, 10, settings) for step in (0, 1, 2, 6)] == [0.5, 1.0, 1.0, 0.5]
    assert learning_rate(9, 10, config(learning_rate=1.0, schedule="constant")) == 1.0
    cosine = config(learning_rate=1.0, schedule="cosine", warmup_fraction=0.0)
    assert learning_rate(5, 10, cosine) == pytest.approx(0.5)


def test_a_loss_that_is_not_finite_names_the_rows(model_dir):
    bad = dataclasses.replace(pairs(1)[0], chosen=sequence(1, logps=float("nan")))
    with pytest.raises(TrainingError, match=f"1 of 2 rows is not finite .first: {bad.row_id}"):
        measure_rows(policy_of(model_dir), objective("dpo", 2), [bad, pairs(2)[1]], config())


def test_means_are_over_rows_not_over_batches(model_dir):
    policy, rows = policy_of(model_dir), pairs(5)
    tallies = []
    for size in (5, 2):
        tally = Tally()
        for part in batches.micro_batches(rows, size):
            with torch.no_grad():
                tally.add(objective("dpo", size).measure(policy, part, None))
        tallies.append(tally.means())
    assert tallies[0] == pytest.approx(tallies[1], abs=1e-4)


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="'gpu0' is no device"):
        choose_device("gpu0")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="no causal language model can be loaded"):
        policy_of(tmp_path)


def test_orpos_likelihood_over_the_prompt_too_is_the_models_own(model_dir):
    policy, rows = policy_of(model_dir), pairs(3)
    made = objective("orpo", 3, lambda_orpo=0.0, nll_over="prompt_and_chosen")
    with torch.no_grad():
        found = made.measure(policy, rows, None).losses
        for row, loss in zip(rows, found.tolist(), strict=True):
            ids = torch.tensor([[*row.chosen.prompt_token_ids, *row.chosen.completion_token_ids]])
            assert loss == pytest.approx(float(policy.model(input_ids=ids, labels=ids).loss), abs=1e-5)


def test_soft_labels_of_thumbs_reach_the_loss(model_dir):
    policy, rows = policy_of(model_dir), unpaired(6)
    losses = []
    for soft in (False, True):
        made = objective("kto", 6, reference_point="zero", soft_labels=soft)
        with torch.no_grad():
            losses.append(made.measure(policy, rows, torch.zeros(())).losses)
    # Hard: l(label). Soft: p l(up) + (1 - p) l(down), and l(up) + l(down) is 1 with weights of 1.
    probability = torch.tensor([row.desirable_probability for row in rows])
    up = torch.where(torch.tensor([row.label for row in rows]), losses[0], 1 - losses[0])
    torch.testing.assert_close(losses[1], probability * up + (1 - probability) * (1 - up), atol=1e-5, rtol=1e-5)


def test_further_methods_add_their_weighted_losses(model_dir):
    policy, rows = policy_of(model_dir), pairs(4)
    alone = {}
    with torch.no_grad():
        for method in ("simpo", "dpo", "nca"):
            alone[method] = objective(method, 4).measure(policy, rows, None).losses
        terms = (Term("simpo"), Term("dpo", 0.5), Term("nca", 2.0))
        both = Objective(terms, 4).measure(policy, rows, None).losses
    torch.testing.assert_close(both, alone["simpo"] + 0.5 * alone["dpo"] + 2.0 * alone["nca"])


def run_config(train, **sections) -> RunConfig:
    document = {"name": "run", "model": "demo", "events": {"inputs": ["log.jsonl"]}, "train": train, **sections}
    return build_config(document, origin="test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "dop"}, "unknown method 'dop'. Did you mean 'dpo'"),
        ({"method": "dpo", "loss": {"beta": -1}}, "beta must be above 0"),
        ({"method": "dpo", "also": [{"method": "kto"}]}, "dpo takes pairs and KTO unpaired rows"),
        ({"method": "kto", "also": [{"method": "bco"}]}, "BCO keeps a reference point of its own"),
        ({"method": "aot"}, "loss of aot as set compares .* train.micro_batch_rows to train.batch_rows .16."),
        ({"method": "kto", "loss": {"reduction": "classes"}}, "loss of kto as set compares"),
        ({"method": "dpo", "also": [{"method": "bco_pair", "loss": {"shift": "batch"}}]}, "loss of bco_pair as set"),
    ],
)
def test_methods_that_cannot_be_trained_are_refused_before_any_work(settings, message):
    with pytest.raises(ConfigError, match=message):
        check_methods(run_config(settings))


def test_methods_that_compare_rows_train_on_whole_steps():
    check_methods(run_config({"method": "aot", "micro_batch_rows": 16}))
    check_methods(run_config({"method": "dpo", "also": [{"method": "hinge"}]}))
