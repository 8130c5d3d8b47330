"""PPO and RLOO from end to end on a tiny model: sampled, scored by the run's thumbs model, interrupted, reported."""

import json

import polars as pl
import pytest
import torch

from tests.line.conftest import write_config
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.planning.models import model_config
from thumbline.pipeline.planning.operations import operations
from thumbline.pipeline.planning.tracing import Traces
from thumbline.pipeline.planning.work import Stated, any_work
from thumbline.pipeline.side_by_side.budget import answer_tokens
from thumbline.pipeline.storage.manifests import read_manifest
from thumbline.pipeline.training import trainer as trainer_module

THUMBS = {"method": "reward_bce", "learning_rate": 1e-2, "epochs": 3, "batch_rows": 16, "dtype": "float32"}
ROLLOUTS = {"samples": 4, "max_new_tokens": 8, "minibatches": 2, "epochs": 2}
SPLITS = {"validation": 0.2, "test": 0.2}
LOGGED = {"reward", "score", "penalised_reward", "kl_k1", "kl_k3", "entropy", "answer_tokens", "ended_share"}


def config_of(folder, log, model, name="run", thumbs=THUMBS, **train):
    settings = {"method": "ppo", "rollouts": ROLLOUTS, "max_steps": 4, "epochs": 9, "micro_batch_rows": 16} | train
    document = write_config(folder, log, model, name, splits=SPLITS, thumbs=thumbs | {"device": "cpu"}, train=settings)
    return load_config(document)


def run(config, until="train", source=None):
    list(line.run(config, line.select(None, until), source=source))
    return config.run_dir


def log_of(folder) -> pl.DataFrame:
    return pl.read_parquet(folder / "train" / "training_log.parquet")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("rollouts")


@pytest.fixture(scope="module")
def trained(base, small_log, tiny_model):
    config = config_of(base, small_log, tiny_model)
    run(config, "report")
    return config.run_dir


def test_what_is_logged_of_a_step(trained):
    log = log_of(trained)
    steps = log.filter(phase="train")
    assert set(steps["metric"]) >= LOGGED | {"loss", "policy_loss", "value_loss", "clip_fraction", "grad_norm"}
    assert set(log.filter(phase="validation")["metric"]) == LOGGED
    named = {(row["step"], row["metric"]): row["value"] for row in steps.iter_rows(named=True)}
    # Two passes of two updates; 8 prompts of 4 answers of at most 8 tokens. The reference is what the policy was.
    assert named[1, "updates"] == 4
    assert 32 <= named[1, "sampled_tokens"] <= 32 * 8
    assert named[1, "kl_k1"] == pytest.approx(0, abs=1e-4) and named[1, "kl_k3"] == pytest.approx(0, abs=1e-4)
    assert named[4, "kl_k3"] > 1e-4
    assert named[1, "answer_tokens"] == pytest.approx(named[1, "sampled_tokens"] / 32)
    lost = named[1, "score"] - named[1, "reward"]
    assert lost == pytest.approx(1 - named[1, "ended_share"])  # of each answer that was cut


def test_the_trained_model_is_an_ordinary_one(trained):
    from transformers import AutoModelForCausalLM

    model, told = AutoModelForCausalLM.from_pretrained(trained / "train" / "model", output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert not hasattr(model, "value_head")


def test_the_report_and_the_notes_say_what_happened(trained):
    notes = read_manifest(trained / "train").notes
    assert notes["models_in_memory"] == 3 and notes["method"] == "ppo" and notes["loss"]["kl_coefficient"] == 0.05
    report = json.loads((trained / "report" / "report.json").read_text())
    curves = [(curve["metric"], curve["phase"]) for curve in report["training"]["curves"]]
    assert curves.index(("reward", "train")) < curves.index(("kl_k1", "train")) < curves.index(("grad_norm", "train"))
    metrics = pl.read_parquet(trained / "metrics" / "metrics.parquet")
    assert "unpaired_auc" in set(metrics["evaluator"])


def test_a_plan_counts_the_prompts_and_tokens_that_training_took(trained):
    config = line.load_saved_config(trained)
    traces = Traces(model_config(config))
    layout = traces.layout(config.train)
    mean = round(answer_tokens(config))
    with any_work(config, Stated(), layout) as whole, any_work(config, Stated(completion_tokens=mean), layout) as taken:
        assert whole.prompts == read_manifest(trained / "train").counts.rows_out
        # Three steps of 8 prompts, and what is left for the fourth.
        assert whole.steps == 4 and whole.sampled.answers == whole.prompts
        done = operations(traces.rollouts(config.train, taken, torch.device("cpu")), taken)
    assert min(done.sampling, done.scoring, done.training) > 0.05 * done.total


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "ppo", "rollouts": ROLLOUTS | {"value_model": "thumbs"}, "name": "own"},
        {
            "method": "rloo",
            "name": "adapter",
            "adapter": "lora",
            "save": "adapter",
            "keep": "best",
            "best_by": "penalised_reward",
        },
    ],
    ids=["ppo, a value model of its own", "rloo, adapter, best"],
)
def test_an_interrupted_training_goes_on_to_the_same_bytes(base, small_log, tiny_model, trained, monkeypatch, settings):
    whole = config_of(base, small_log, tiny_model, **settings)
    run(whole, source=trained)
    cut = config_of(base, small_log, tiny_model, **settings | {"name": f"{settings['name']}-cut"})
    taken, step = [], trainer_module.Trainer._step

    def stopped(self, *args):
        taken.append(args)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return step(self, *args)

    monkeypatch.setattr(trainer_module.Trainer, "_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(cut, source=trained)
    run(cut)
    assert len(taken) == 6  # three, the one that was cut, and from the checkpoint of step 2 two more
    manifests = [read_manifest(config.run_dir / "train") for config in (whole, cut)]
    files = [manifest.files for manifest in manifests]
    assert files[0] == files[1]
    assert log_of(whole.run_dir).equals(log_of(cut.run_dir))


def test_prompts_of_pairs_do_where_the_thumbs_model_learns_from_those(base, small_log, tiny_model):
    config = config_of(base, small_log, tiny_model, "pairs", thumbs=THUMBS | {"method": "reward_bt"}, max_steps=1)
    log = log_of(run(config))
    assert log.filter(phase="train", metric="reward").height == 1
    rows = pl.read_parquet(config.run_dir / "sequences" / "row_sequences.parquet")
    in_train = set(rows.filter(pl.col("split") == "train")["response_id"])
    pairs = pl.read_parquet(config.run_dir / "pairs" / "pairs.parquet")
    assert in_train <= {*pairs["chosen_response_id"], *pairs["rejected_response_id"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"thumbs": {"method": "none"}}, "ppo trains on scores of the run's thumbs model, and the run makes none"),
        ({"method": "rloo", "rollouts": {"samples": 1}}, "rollouts.samples: rloo compares .* takes at least 2, not 1"),
        ({"rollouts": {"value_model": "thumbs"}, "adapter": "lora"}, "value_model: thumbs is a second model"),
        ({"keep": "best"}, "train.best_by: loss is measured of rows of the log, and ppo samples its own"),
        ({"method": "dpo", "keep": "best", "best_by": "penalised_reward"}, "penalised_reward is measured of answers"),
        ({"also": [{"method": "kto"}]}, "train.also: ppo trains on answers that it samples"),
        ({"ld_alpha": 0.5}, "compares the two lengths of a pair, and ppo takes prompts"),
    ],
)
def test_what_cannot_work_is_said_before_any_work(tmp_path, small_log, tiny_model, settings, message):
    config = config_of(tmp_path, small_log, tiny_model, **settings)
    with pytest.raises(ConfigError, match=message):
        line.check_run(config, line.select(None, "train"))
