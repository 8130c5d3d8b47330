import json

import pytest
from typer.testing import CliRunner

from thumbline.pipeline.cli.main import app
from thumbline.pipeline.planning.advice import candidates, changed
from thumbline.pipeline.planning.copies import copies
from thumbline.pipeline.planning.estimate import GIB, estimate
from thumbline.pipeline.planning.scoring import scoring
from thumbline.pipeline.planning.tracing import Traces
from thumbline.pipeline.planning.work import Stated, work_of

from .shapes_of_models import gemma, llama, run


def _estimate(devices=1, device="cuda", **train):
    settings = run(**train)
    with work_of(settings, Stated(12, 20), "padded") as work:
        return estimate(Traces(llama(4)), settings.train, work, device, devices)


def test_a_model_of_70_billion_takes_what_the_methods_are_known_for_and_one_model_here():
    table = _copies()
    assert table == {
        "RLHF (PPO)": (560, 420),
        "RLHF (RLOO)": (420, 420),
        "DPO": (280, 140),
        "KTO": (280, 140),
        "ORPO": (140, 140),
        "SimPO": (140, 140),
    }


def test_an_adapter_makes_one_base_of_policy_and_reference_and_a_value_model_is_one_more():
    assert _copies(adapter="lora")["RLHF (PPO)"] == (560, 280)
    assert _copies(rollouts={"value_model": "thumbs"})["RLHF (PPO)"] == (560, 560)
    assert _copies(adapter="lora")["DPO"] == (280, 140)


def _copies(**train):
    found = copies(70e9, run(**train).train)
    return {row.method: (row.usual_bytes / 1e9, row.here_bytes / 1e9) for row in found}


def test_shared_out_weights_and_state_fall_with_the_devices_and_activations_do_not():
    one, four = _estimate(), _estimate(devices=4)
    assert (one.way, four.way) == ("none", "fsdp")
    for kind in ("weights", "gradients", "optimizer"):
        assert four.phases["optimizer"][kind] == pytest.approx(one.phases["optimizer"][kind] / 4)
    assert four.phases["forward"]["activations"] == one.phases["forward"]["activations"]
    assert four.phases["forward"]["gathered"] > 0


def test_copies_take_of_each_device_what_one_takes():
    assert _estimate(devices=4, adapter="lora").way == "ddp"
    assert _estimate(devices=4, distributed="ddp").peak == _estimate(distributed="ddp").peak


def test_four_bit_weights_and_eight_bit_state_are_in_their_place():
    bfloat16 = _estimate(adapter="lora", weights="bfloat16", dtype="bfloat16")
    four_bits = _estimate(adapter="lora", weights="nf4", save="adapter", dtype="bfloat16")
    linear = bfloat16.trace.counts["linear"]
    saved = bfloat16.phases["optimizer"]["weights"] - four_bits.phases["optimizer"]["weights"]
    assert saved == pytest.approx(linear * (2 - 0.516), rel=0.001)
    eight = _estimate(optimizer="adamw_8bit")
    counts = eight.trace.counts
    small = counts["trained"] - counts["embedding"]
    assert eight.phases["checkpoint"]["optimizer"] == pytest.approx(2.03 * small + 8 * counts["embedding"], rel=0.01)


def test_a_cpu_maps_the_file_that_it_loads_and_keeps_freed_blocks():
    cpu, cuda = (_estimate(device=device, dtype="bfloat16") for device in ("cpu", "cuda"))
    assert cpu.phases["loading"]["working"] > cuda.phases["loading"]["working"] == 0
    rounded = _estimate(device="cpu", dtype="bfloat16").phases["forward"]
    came = sum(rounded[kind] for kind in ("gradients", "casts", "activations", "head", "working"))
    assert rounded["kept"] == pytest.approx(0.25 * came)


def test_keys_and_values_are_those_of_each_layers_window():
    counts = {"all": 1000.0, "linear": 600.0}
    settings = run()
    full = scoring(llama(6), settings, counts)
    # Two tensors, six layers, 1,024 tokens, two heads of 16, two bytes.
    assert full.sequence == 2 * 6 * 1024 * 2 * 16 * 2
    windowed = scoring(gemma(6), settings, counts)
    sliding = gemma(6).layer_types.count("sliding_attention")
    assert windowed.sequence == 2 * ((6 - sliding) * 1024 + sliding * 8) * 2 * 16 * 2
    assert full.in_flight == 64 * full.sequence
    assert full.weights == 2000
    halved = changed(settings, {"reference.tensor_parallel_size": 2, "reference.quantization": "fp8"})
    assert scoring(llama(6), halved, counts).weights == (400 * 2 + 600) / 2


def test_steps_are_those_of_the_trainer():
    for steps, settings in ((5, {"epochs": 1.5}), (2, {"max_steps": 2}), (3, {})):
        with work_of(run(**settings), Stated(12, 20, 10), "padded") as work:
            assert work.steps == steps


def test_forward_passes_are_cut_by_tokens_where_training_cuts_them_so():
    by_tokens = _estimate(batch_rows=8, micro_batch_rows=8, micro_batch_tokens=128)
    by_rows = _estimate(batch_rows=8, micro_batch_rows=2)
    assert by_tokens.phases["forward"]["activations"] == by_rows.phases["forward"]["activations"]
    assert by_tokens.peak < _estimate(batch_rows=8, micro_batch_rows=8).peak


def test_partners_of_other_prompts_are_a_part_of_the_work():
    with work_of(run(method="kto", epochs=3.0), Stated(12, 20, 40), "padded") as work:
        assert work.step_tokens == 2 * 4 * 32
        assert work.steps == 30


def test_changes_are_those_that_a_run_has_not_made():
    names = [name for change, _ in candidates(run(dtype="bfloat16"), 1) for name in change]
    assert names[:3] == ["train.gradient_checkpointing", "train.micro_batch_rows", "train.weights"]
    assert "train.adapter" in names
    made = run(adapter="lora", gradient_checkpointing=True, micro_batch_rows=1, weights="bfloat16", dtype="bfloat16")
    assert [change["train.weights"] for change, _ in candidates(made, 1)] == ["nf4"]


@pytest.fixture
def run_file(tmp_path):
    llama(2).save_pretrained(tmp_path / "shape")
    path = tmp_path / "small.yaml"
    path.write_text(
        f"model: {tmp_path / 'shape'}\nruns: {tmp_path}\nevents: {{inputs: [none.jsonl]}}\n"
        "train: {batch_rows: 4, micro_batch_rows: 2}\nsequences: {max_tokens: 64}\n"
    )
    return path


def _plan(run_file, *options):
    result = CliRunner().invoke(app, ["plan", str(run_file), "--json", *options])
    return result.exit_code, json.loads(result.stdout)


def test_the_command_exits_with_one_where_training_does_not_fit_and_says_what_would(run_file):
    code, plan = _plan(run_file, "--memory", "24", "--flops", "1e12", "--rows", "40")
    assert (code, plan["fits"], plan["changes"]) == (0, True, [])
    assert plan["time"]["steps"] == 10
    assert plan["time"]["seconds"] == pytest.approx(10 * plan["time"]["step_flops"] / 1e12)
    peak = plan["memory"]["peak"] / GIB
    code, plan = _plan(run_file, "--memory", str(peak - 0.0005))
    assert (code, plan["fits"]) == (1, False)
    assert plan["changes"][0]["change"] == {"train.gradient_checkpointing": True}
    assert plan["changes"][0]["peak"] < plan["memory"]["peak"]
    assert plan["changes"][-1]["fits"]


def test_without_memory_nothing_is_said_to_fit_and_every_method_has_a_figure(run_file):
    from thumbline.losses import LOSSES, ROLLOUTS

    code, plan = _plan(run_file)
    assert (code, plan["fits"], plan["time"]["seconds"]) == (0, None, None)
    assert [fit["method"] for fit in plan["methods"]] == [*LOSSES, *ROLLOUTS]
    assert {fit["rows"] for fit in plan["methods"][len(LOSSES) :]} == {"prompts"}
    assert all(fit["peak"] > 0 for fit in plan["methods"])


def test_the_printed_plan_names_the_peak_and_the_table_of_models(run_file):
    result = CliRunner().invoke(app, ["plan", str(run_file), "--devices", "2", "--memory", "24"])
    assert result.exit_code == 0
    for words in ("2 cuda devices", "weights shared out (FSDP2)", "fits", "RLHF (PPO)", "560"):
        assert words in " ".join(result.stdout.split())
