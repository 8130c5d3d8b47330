"""The memory that a training took is as it was measured, or unknown."""

import pytest

from tests.unit.sweep.stand_ins import sweep_plan
from thumbline.pipeline.side_by_side import running
from thumbline.pipeline.storage.documents import write_document


@pytest.mark.parametrize("damaged", ["", "null", "{}", '{"fingerprint": "f"}', None])
def test_damaged_memory_is_unknown(tmp_path, monkeypatch, damaged):
    monkeypatch.setattr(running, "fingerprint_of", lambda *_: "f")
    config = sweep_plan(tmp_path).trials[0].config
    assert running.peak_of(config) is None
    file = config.run_dir / running.MEASURED
    write_document(file, {"fingerprint": "f", "peak_memory_gib": 12.5})
    assert running.peak_of(config) == 12.5
    file.write_text(file.read_text().replace("12.5", "92.5") if damaged is None else damaged)
    assert running.peak_of(config) is None
