"""The type that `auto` means on a machine."""

import pytest

from thumbline.pipeline.config import EngineConfig, TrainConfig, machine

AVX2 = "processor\t: 0\nflags\t\t: fpu sse2 avx avx2 fma\n"
AVX512 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512bw avx512dq avx512vl\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n"
OLD_ARM = "processor\t: 0\nFeatures\t: fp asimd\n"


def on(monkeypatch, folder, cpu, gpu=False):
    place = folder / "cpuinfo"
    if cpu is not None:
        place.write_text(cpu)
    (folder / "gpu").write_text("driver")
    monkeypatch.setattr(machine, "_CPU", place)
    monkeypatch.setattr(machine, "_GPUS", (folder / ("gpu" if gpu else "none"),))


@pytest.mark.parametrize(
    ("cpu", "gpu", "expected"),
    [
        (AVX2, False, "float32"),
        (AVX2, True, "bfloat16"),
        (AVX512, False, "bfloat16"),
        (ARM, False, "bfloat16"),
        (OLD_ARM, False, "float32"),
        ("model name: unheard of\n", False, "bfloat16"),
        (None, False, "bfloat16"),
    ],
)
def test_auto_is_settled_as_settings_are_read(monkeypatch, tmp_path, cpu, gpu, expected):
    on(monkeypatch, tmp_path, cpu, gpu)
    assert EngineConfig(dtype="auto").dtype == expected
    assert TrainConfig(dtype="auto").model_dump()["dtype"] == expected


def test_a_stated_type_is_taken_as_it_is(monkeypatch, tmp_path):
    on(monkeypatch, tmp_path, AVX2)
    assert EngineConfig(dtype="bfloat16").dtype == EngineConfig().dtype == "bfloat16"
    with pytest.raises(ValueError, match="dtype"):
        EngineConfig(dtype="automatic")
