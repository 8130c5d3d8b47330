"""The real ConvAI2 thumbs log, end to end with KTO, on a tiny model; skipped where the log is absent."""

import pytest

from tests.line.conftest import write_config
from tests.unit.importers.test_convai2 import REAL_LOG as LOG
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.storage.manifests import read_manifest
from thumbline.pipeline.storage.tables import read_table


@pytest.mark.slow
@pytest.mark.skipif(not LOG.is_file(), reason=f"the ConvAI2 log is not here ({LOG}); set THUMBLINE_SHARED_DATA")
def test_real_thumbs_go_through_every_stage(tmp_path, tiny_model):
    sections = {
        "events": {"format": "convai2"},
        "sequences": {"max_tokens": 512, "truncation": "keep_end"},
        "train": {"method": "kto", "max_steps": 2, "validation_rows": 16},
    }
    config = load_config(write_config(tmp_path, LOG, tiny_model, **sections))
    for _ in line.run(config):
        pass
    notes = {stage: read_manifest(config.run_dir / stage).notes for stage in line.STAGE_NAMES}
    votes = notes["events"]["votes"]
    assert (votes["up"], votes["down"], votes["up"] + votes["down"]) == (935, 440, 1375)
    responses = read_table(config.run_dir / "responses" / "responses.parquet", "responses")
    # Four of the 935 are a user's second thumb up for the same answer in the same context: one user, one vote.
    assert (responses["n_up"].sum(), responses["n_down"].sum()) == (931, 440)
    unpaired = notes["unpaired"]
    assert (
        unpaired["desirable"] + unpaired["undesirable"]
        == notes["responses"]["labels"]["desirable"] + (notes["responses"]["labels"]["undesirable"])
    )
    splits = notes["splits"]["unpaired"]
    assert sum(splits.values()) == unpaired["desirable"] + unpaired["undesirable"]
    page = (config.run_dir / "report" / "report.html").read_text()
    assert "935" in page and "440" in page
