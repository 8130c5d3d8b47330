"""What a round keeps of itself is as it was written, or is not used."""

import json
from types import SimpleNamespace

import polars as pl
import pytest

from thumbline.pipeline.errors import InputError
from thumbline.pipeline.rounds import rounds_before, running
from thumbline.pipeline.storage.digests import digest_file
from thumbline.pipeline.storage.documents import write_document


@pytest.fixture
def second(tmp_path):
    for name in ("first", "first-round-2"):
        (tmp_path / name / "round").mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text("name: x\n")
    write_document(tmp_path / "first-round-2" / "round" / "round.json", {"previous": "../first", "made": {"rows": 12}})
    return tmp_path / "first-round-2"


def test_a_round_names_the_run_before(second, tmp_path):
    assert rounds_before(second) == [(tmp_path / "first").resolve(), second]


@pytest.mark.parametrize("damaged", ["", "[]", "{}", json.dumps({"previous": 5}), json.dumps({"previous": "."}), None])
def test_a_damaged_round_is_named(second, damaged):
    file = second / "round" / "round.json"
    file.write_text(file.read_text().replace("12", "13") if damaged is None else damaged)
    with pytest.raises(InputError, match=r"round\.json: not as it was written"):
        rounds_before(second)


def test_votes_go_to_the_answers_that_were_handed_out(tmp_path):
    plan = SimpleNamespace(folder=tmp_path, config=SimpleNamespace(name="x"))
    answers = tmp_path / running.ANSWERS_FILE
    pl.DataFrame({"completion": ["In May."]}).write_parquet(answers)
    assert running._handed_out(plan).height == 1
    write_document(tmp_path / running.HANDED_OUT, {"answers": digest_file(answers)})
    assert running._handed_out(plan).height == 1
    pl.DataFrame({"completion": ["In Mai."]}).write_parquet(answers)
    with pytest.raises(InputError, match="not the answers that were handed out"):
        running._handed_out(plan)
