"""What is kept of a trial that failed."""

import json

import pytest

from tests.unit.sweep.stand_ins import sweep_plan
from thumbline.pipeline.context import SilentReporter
from thumbline.pipeline.errors import MachineError
from thumbline.pipeline.sweep import trials
from thumbline.pipeline.sweep.trials import failure_of, run_trial
from thumbline.pipeline.troubles import in_words


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"fingerprint": "f", "error": "the loss is not finite"}, "the loss is not finite"),
        ({"fingerprint": "of another setting", "error": "x"}, None),
        ({"fingerprint": "f"}, None),
        ([1], None),
        (None, None),
    ],
)
def test_a_failure_is_found_where_it_was_written_so(tmp_path, monkeypatch, kept, said):
    monkeypatch.setattr(trials, "recorded", lambda *_: True)
    monkeypatch.setattr(trials, "fingerprint_of", lambda *_: "f")
    config = sweep_plan(tmp_path).trials[0].config
    config.run_dir.mkdir(parents=True)
    (config.run_dir / "failure.json").write_text("{damaged" if kept is None else json.dumps(kept), encoding="utf-8")
    assert failure_of(config) == said


@pytest.mark.parametrize(
    ("said", "is_kept"), [("No space left on device", False), ("CUDA out of memory. Tried to allocate 2 GiB", True)]
)
def test_a_full_disk_is_no_failure_of_the_trial(tmp_path, monkeypatch, said, is_kept):
    def training(*_, **__):
        # As torch and safetensors say it: no error of the system.
        with in_words("train"):
            raise RuntimeError(said)
        yield

    monkeypatch.setattr(trials, "recorded", lambda *_: True)
    monkeypatch.setattr(trials, "is_done", lambda *_: False)
    monkeypatch.setattr(trials, "fingerprint_of", lambda *_: "f")
    monkeypatch.setattr(trials, "run", training)
    trial = sweep_plan(tmp_path).trials[0]
    trial.config.run_dir.mkdir(parents=True)
    if is_kept:
        result = run_trial(trial, tmp_path, SilentReporter(), "", retry=False)
        assert result.status == "failed" and "memory" in str(failure_of(trial.config))
        # Where it was raised, without a library's own words: they may repeat what an address holds of keys.
        kept = json.loads((trial.config.run_dir / "failure.json").read_text(encoding="utf-8"))["traceback"]
        assert "RuntimeError:\n" in kept and any("def" in line or "raise" in line for line in kept)
    else:
        with pytest.raises(MachineError, match="no space is left"):
            run_trial(trial, tmp_path, SilentReporter(), "", retry=False)
        assert failure_of(trial.config) is None
