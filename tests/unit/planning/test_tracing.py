import math

import pytest
import torch
from transformers import LlamaForCausalLM

from tests.soaking import mostly_soaked
from thumbline.losses import Term
from thumbline.pipeline.config import RunConfig
from thumbline.pipeline.planning import tracing
from thumbline.pipeline.planning.models import model_config, with_layers
from thumbline.pipeline.planning.tracing import Traces
from thumbline.pipeline.planning.work import Stated, work_of
from thumbline.pipeline.training.objective import Objective
from thumbline.pipeline.training.optimizers import make_optimizer
from thumbline.pipeline.training.policy import policy_of
from thumbline.pipeline.training.step import take_step

from .shapes_of_models import gemma, llama, mixtral, peak, run, trace

PARAMETERS = 512 * 64 + 8 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128 + 2 * 64) + 64


@pytest.mark.parametrize("config", [llama(), gemma()], ids=["alike layers", "two kinds of layers"])
@pytest.mark.parametrize(
    "train",
    mostly_soaked(
        [{}, {"adapter": "lora"}, {"gradient_checkpointing": True, "dtype": "bfloat16"}], [{"adapter": "lora"}]
    ),
)
def test_two_depths_tell_what_the_whole_takes(config, train, monkeypatch):
    followed = trace(config, **train)
    monkeypatch.setattr(tracing, "_SHALLOW", 100)
    whole = trace(config, **train)
    assert followed.counts == whole.counts
    assert followed.flops == whole.flops
    for phase in whole.peaks:
        assert peak(followed, phase) == pytest.approx(peak(whole, phase), rel=0.01)


def test_a_model_whose_first_layers_tell_nothing_of_the_rest_is_traced_whole(monkeypatch):
    config = llama()
    monkeypatch.setattr(tracing, "_line", lambda short, *_: dict(short))
    assert trace(config).counts["all"] == PARAMETERS


def test_state_of_all_weights_is_sixteen_bytes_a_parameter():
    traced = trace(llama())
    assert traced.counts["all"] == traced.counts["trained"] == PARAMETERS
    held = peak(traced, "optimizer", "weights", "gradients", "optimizer")
    assert held == pytest.approx(16 * PARAMETERS, rel=0.001)


def test_an_adapter_has_gradients_and_state_of_its_own_alone():
    traced = trace(llama(), adapter="lora")
    trained = traced.counts["trained"]
    assert 0 < trained < PARAMETERS / 2
    assert peak(traced, "optimizer", "adapter") == 4 * trained
    assert peak(traced, "optimizer", "gradients", "optimizer") == pytest.approx(12 * trained, rel=0.02)
    assert peak(traced, "optimizer", "weights") == pytest.approx(4 * PARAMETERS, rel=0.001)


@pytest.mark.parametrize(
    ("train", "size"),
    [
        ({"weights": "bfloat16", "dtype": "bfloat16"}, 2 + 2 + 8),
        ({"weights": "bfloat16", "dtype": "bfloat16", "rounding": "master"}, 2 + 2 + 8 + 4),
        ({"optimizer": "adafactor"}, 4 + 4),
    ],
)
def test_other_state_weighs_what_its_settings_say(train, size):
    held = peak(trace(llama(), **train), "backward 3", "weights", "gradients", "optimizer")
    assert held == pytest.approx(size * PARAMETERS, rel=0.06)


def test_a_token_takes_six_operations_a_trained_weight_and_four_a_frozen_one():
    # Wide layers, so that products outweigh attention; of 64 tokens 63 are completion's, with the head.
    config = llama(4, hidden_size=512, intermediate_size=1536, vocab_size=256)
    full, adapter = (trace(config, Stated(1, 63), **train) for train in ({}, {"adapter": "lora"}))
    assert full.flops / full.tokens / full.counts["base"] == pytest.approx(6, rel=0.05)
    frozen = adapter.counts["base"]
    assert adapter.flops / adapter.tokens == pytest.approx(4 * frozen + 6 * adapter.counts["trained"], rel=0.06)


def test_checkpointing_holds_less_and_computes_a_third_more():
    plain, checkpointed = (trace(llama(), gradient_checkpointing=on) for on in (False, True))
    assert peak(checkpointed, "forward", "activations") < 0.3 * peak(plain, "forward", "activations")
    # The head, which is not computed again, is a part of both.
    assert 1.2 < checkpointed.flops / plain.flops < 4 / 3


def test_autocast_holds_a_copy_of_the_weights_of_layers_in_its_type():
    traced = trace(llama(), dtype="bfloat16")
    assert peak(traced, "forward", "casts") >= 2 * traced.counts["linear"]
    assert peak(trace(llama()), "forward", "casts") == 0


def test_a_shared_prompt_is_computed_once_a_pair():
    padded, shared = (trace(llama(), Stated(30, 10), layout=layout) for layout in ("padded", "shared"))
    assert (padded.tokens, shared.tokens) == (4 * 2 * 40, 4 * 50)
    assert peak(shared, "forward", "activations") < peak(padded, "forward", "activations")
    assert shared.flops < padded.flops


@pytest.mark.parametrize("layout", ["padded", "packed", "shared"])
@pytest.mark.parametrize(
    "train", [{}, {"method": "kto"}, {"method": "kto", "micro_batch_rows": 4}, {"method": "bco"}, {"method": "orpo"}]
)
def test_tokens_of_a_plan_are_those_that_the_step_itself_counts(layout, train):
    settings, traces = run(layout=layout, **train), Traces(llama(1))
    with work_of(settings, Stated(12, 20), traces.layout(settings.train)) as work:
        assert traces.step(settings.train, work.largest).tokens == work.largest_tokens


def test_more_rows_at_a_time_hold_more():
    one, two = (trace(llama(), micro_batch_rows=rows) for rows in (1, 2))
    assert peak(two, "forward", "activations") == pytest.approx(2 * peak(one, "forward", "activations"), rel=0.05)


def test_experts_are_counted_whole_and_computed_in_part():
    dense, sparse = trace(llama(), dtype="bfloat16"), trace(mixtral(), dtype="bfloat16")
    assert sparse.counts["all"] > 2 * dense.counts["all"]
    assert sparse.flops / sparse.tokens / sparse.counts["all"] < dense.flops / dense.tokens / dense.counts["all"]


def test_few_layers_keep_their_order():
    kinds = gemma().layer_types
    assert with_layers(gemma(), 7).layer_types == kinds[:7]


def test_a_folder_with_a_config_alone_will_do(tmp_path):
    llama().save_pretrained(tmp_path)
    settings = RunConfig.model_validate({"name": "x", "model": str(tmp_path), "events": {"inputs": ["none"]}})
    assert model_config(settings).num_hidden_layers == 8


def test_what_is_planned_is_what_is_allocated():
    """Live bytes of a real step, as torch's own allocator reports them, against the trace's."""
    traced, real = trace(llama(4)), _allocated(llama(4))
    planned = max(peak(traced, phase) for phase in traced.peaks)
    assert math.isclose(planned, real, rel_tol=0.03)


def _allocated(config):
    settings = run()
    model = LlamaForCausalLM(config)
    policy = policy_of(model, torch.device("cpu"), torch.float32, dtype="float32", gradient_checkpointing=False)
    optimizer = make_optimizer(policy, settings.train)
    objective = Objective((Term("dpo"),), settings.train.micro_batch_rows)
    with work_of(settings, Stated(12, 20), "padded") as work:
        take_step(policy, objective, optimizer, work.largest, settings.train)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            take_step(policy, objective, optimizer, work.largest, settings.train)
    held = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most + 12 * sum(weight.numel() for weight in model.parameters())


def test_what_single_tokens_count_takes_no_stored_log_probs_to_plan():
    plain, clipped, shortened = (
        trace(llama(2), **settings) for settings in ({}, {"ratio_floor": -1.5, "reference_steps": 2}, {"ld_alpha": 0.5})
    )
    assert plain.peaks == clipped.peaks == shortened.peaks
