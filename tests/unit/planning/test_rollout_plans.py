"""Plans of methods that sample their own answers: what is held, what is computed, by the numbers of a small model."""

import pytest
import torch
from typer.testing import CliRunner

from thumbline.pipeline.cli.main import app
from thumbline.pipeline.config import RunConfig
from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.planning import tracing
from thumbline.pipeline.planning.advice import candidates, changed
from thumbline.pipeline.planning.estimate import estimate
from thumbline.pipeline.planning.operations import operations
from thumbline.pipeline.planning.planned import Asked, plan
from thumbline.pipeline.planning.rollout_steps import DECODE, PREFILL
from thumbline.pipeline.planning.scoring import sequence_bytes
from thumbline.pipeline.planning.tracing import Traces
from thumbline.pipeline.planning.work import Stated, any_work

from .shapes_of_models import llama, peak

LAYERS, WIDTH, VOCABULARY, PROMPT, NEW = 4, 64, 512, 12, 20
# Products of a layer: queries and outputs, keys and values of half the heads, three of the feed-forward.
LINEAR = LAYERS * (2 * WIDTH * WIDTH + 2 * WIDTH * WIDTH // 2 + 3 * WIDTH * 128)
PARAMETERS = LINEAR + LAYERS * 2 * WIDTH + WIDTH + VOCABULARY * WIDTH
CPU = torch.device("cpu")
ROLLOUTS = {"samples": 2, "max_new_tokens": NEW, "minibatches": 2}


def settings(thumbs=None, **train) -> RunConfig:
    sizes = {"method": "ppo", "batch_rows": 4, "micro_batch_rows": 4, "dtype": "float32", "layout": "padded"}
    sizes |= {"rollouts": ROLLOUTS} | train
    document = {"name": "plan", "model": "demo", "events": {"inputs": ["none"]}, "train": sizes}
    return RunConfig.model_validate(
        document | {"thumbs": {"method": "reward_bce", "dtype": "float32"} | (thumbs or {})}
    )


def work_of(config, layout="padded", new=NEW):
    with any_work(config, Stated(PROMPT, new, 40), layout) as work:
        return work


def traced(config, layers=LAYERS):
    traces = Traces(llama(layers))
    return traces.rollouts(config.train, work_of(config, traces.layout(config.train)), CPU)


def read(tokens, context):
    """Operations of tokens that see `context` tokens each: products, the scores of attention, and its sums."""
    return tokens * (2 * LINEAR + LAYERS * 4 * context * WIDTH)


def test_sampling_reads_each_prompt_once_and_each_answer_a_token_at_a_time():
    found = traced(settings()).before
    head = 2 * VOCABULARY * WIDTH
    # Attention over a whole prompt is counted as a square, masked or not; each answer's first token is drawn there.
    assert found[PREFILL] == pytest.approx(read(4 * PROMPT, PROMPT) + 8 * head)
    answers = sum(read(8, PROMPT + place) + 8 * head for place in range(1, NEW))
    assert found[DECODE] == pytest.approx(answers)


def test_scoring_reads_each_answer_with_its_prompt_three_times():
    config = settings(thumbs={"layers": 2})
    work, found = work_of(config), traced(config)
    done = operations(found, work)
    tokens = 8 * (PROMPT + NEW)
    head = 8 * NEW * 2 * VOCABULARY * WIDTH
    passes = 2 * (read(tokens, PROMPT + NEW) + head)
    thumbs = read(tokens, PROMPT + NEW) / 2
    # The head of one column, and what predicts rewards, are next to nothing.
    assert done.scoring == pytest.approx(passes + thumbs, rel=0.01)
    # A backward pass is two of the products, and two and a half of attention, whose scores are made again.
    again = tokens * LAYERS * 4 * (PROMPT + NEW) * WIDTH / 2
    assert done.training == pytest.approx(3 * passes / 2 + again, rel=0.001)
    assert done.total == done.training + done.scoring + done.sampling
    twice = settings(rollouts=ROLLOUTS | {"epochs": 2})
    assert operations(traced(twice), work_of(twice)).training == pytest.approx(2 * done.training)


def test_the_reference_the_thumbs_model_and_the_keys_are_held():
    config = settings(thumbs={"layers": 2})
    phases = estimate(Traces(llama(LAYERS)), config.train, work_of(config), "cpu").phases
    assert list(phases) == ["loading", "sampling", "scoring", "forward", "backward", "optimizer", "checkpoint"]
    embedded = VOCABULARY * WIDTH
    for phase in list(phases)[1:]:
        assert phases[phase]["reference"] == pytest.approx(4 * PARAMETERS, rel=0.001)
        assert phases[phase]["thumbs"] == pytest.approx(4 * (LINEAR / 2 + embedded), rel=0.01)
    keys = 8 * sequence_bytes(
        llama(LAYERS), PROMPT + NEW - 1, changed(config, {"reference.dtype": "float32"}).reference
    )
    logits = 8 * VOCABULARY * 4
    assert keys + 3 * logits < phases["sampling"]["sampling"] < 1.6 * (keys + 5 * logits)


@pytest.mark.parametrize(
    ("train", "models"),
    [({}, 2), ({"method": "rloo"}, 2), ({"adapter": "lora"}, 1), ({"rollouts": {"value_model": "thumbs"}}, 3)],
    ids=["ppo", "rloo", "adapter", "a value model"],
)
def test_models_beside_the_thumbs_model_are_those_of_the_method(train, models):
    found = traced(settings(**train))
    held = peak(found, "optimizer", "weights", "reference")
    assert held == pytest.approx(4 * models * PARAMETERS, rel=0.02 + 0.1 * (models == 3))
    assert found.scored.weights > 3.9 * (PARAMETERS - VOCABULARY)


@pytest.mark.parametrize("train", [{}, {"rollouts": {"samples": 2, "max_new_tokens": 6, "value_model": "thumbs"}}])
def test_two_depths_tell_what_the_whole_takes(train, monkeypatch):
    config = settings(**train)
    followed = traced(config, 8)
    monkeypatch.setattr(tracing, "_SHALLOW", 100)
    whole = traced(config, 8)
    assert (followed.flops, dict(followed.before)) == (whole.flops, dict(whole.before))
    for phase in whole.peaks:
        assert peak(followed, phase) == pytest.approx(peak(whole, phase), rel=0.01)


def test_answers_of_one_prompt_share_it_where_the_layout_does():
    padded, shared = (work_of(settings(layout=layout), layout) for layout in ("padded", "shared"))
    assert padded.sampled.pass_tokens == 8 * (PROMPT + NEW)
    assert shared.sampled.pass_tokens == 4 * PROMPT + 8 * NEW
    assert padded.steps == 10 and padded.prompts == 40


def test_vllm_holds_a_copy_of_the_policy_and_computes_the_same():
    own, other = (
        estimate(Traces(llama(LAYERS)), config.train, work_of(config), "cuda")
        for config in (settings(), settings(rollouts=ROLLOUTS | {"engine": "vllm"}))
    )
    assert "sampling" not in other.phases and other.trace.before == own.trace.before
    assert other.phases["forward"]["engine"] > 2 * PARAMETERS
    assert "engine" not in own.phases["forward"]


def test_changes_take_a_layer_for_the_value_model_first_and_no_further_device():
    found = [change for change, _ in candidates(settings(rollouts={"value_model": "thumbs"}), 1)]
    assert found[0] == {"train.rollouts.value_model": "policy"}
    assert changed(settings(), found[0]).train.rollouts.value_model == "policy"
    assert not any(change.get("devices", 1) > 1 for change in found)


@pytest.fixture
def run_file(tmp_path):
    llama(2).save_pretrained(tmp_path / "shape")
    path = tmp_path / "small.yaml"
    path.write_text(
        f"model: {tmp_path / 'shape'}\nruns: {tmp_path}\nevents: {{inputs: [none.jsonl]}}\n"
        "thumbs: {method: reward_bce, dtype: float32}\nsequences: {max_tokens: 64}\n"
        "train: {method: ppo, batch_rows: 4, rollouts: {samples: 2, max_new_tokens: 16}}\n"
    )
    return path


def test_the_command_says_what_sampling_and_scoring_take(run_file):
    result = CliRunner().invoke(app, ["plan", str(run_file), "--rows", "40"])
    assert result.exit_code == 0, (result.output, result.exception)
    words = " ".join(result.stdout.split())
    for said in ("sampling", "scoring", "% sample", "% score", "in memory"):
        assert said in words, said
    assert "32 tokens of prompt, half of what sequences allow, answers of 16 tokens" in words


def test_several_devices_are_refused(run_file):
    from thumbline.pipeline.config import load_config

    with pytest.raises(ConfigError, match="one process trains by ppo"):
        plan(load_config(run_file), Asked(devices=2))
