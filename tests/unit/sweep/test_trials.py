"""What is kept of a trial that failed."""

import json

import pytest

from tests.unit.sweep.stand_ins import sweep_plan
from thumbline.pipeline.sweep import trials
from thumbline.pipeline.sweep.trials import failure_of


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
