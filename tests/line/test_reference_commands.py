"""`thumbline reference` and its parts, through the command itself, on a tiny model."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from tests.line.conftest import write_config
from tests.tiny import save_lora, save_tiny_model
from thumbline.pipeline import line
from thumbline.pipeline.cli import main, terminal
from thumbline.pipeline.config import load_config
from thumbline.pipeline.errors import PipelineError
from thumbline.pipeline.storage.manifests import read_manifest
from thumbline.pipeline.tables import polars_schema

PAIRS = [
    {"id": number, "prompt": f"When {number}?", "chosen": "In May, thanks.", "rejected": f"Go {number}."}
    for number in range(12)
]
ENGINE = ("--engine", "hf", "--dtype", "float32")


def invoke(*arguments):
    return CliRunner().invoke(main.app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def done(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return " ".join(result.output.split())


def refused(*arguments):
    result = invoke(*arguments)
    assert isinstance(result.exception, PipelineError), (result.output, result.exception)
    return str(result.exception)


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return path


@pytest.fixture
def scored(rows, tiny_model, tmp_path):
    """Rows scored into `tmp_path/store`."""
    done("reference", rows, "-m", tiny_model, "-o", tmp_path / "scored.parquet", *ENGINE)
    return tmp_path / "store"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_log, tiny_model):
    """A run up to its reference."""
    config = load_config(write_config(tmp_path_factory.mktemp("care"), small_log, tiny_model))
    list(line.run(config, line.select(None, "reference")))
    return config


def shards(store):
    return sorted(Path(store).rglob("*.parquet"))


def age(store, hours=48):
    for path in Path(store).rglob("*.*"):  # hidden ones too
        time = path.stat().st_mtime - hours * 3600
        os.utime(path, (time, time))


def test_score_is_what_reference_means_without_a_command(rows, tiny_model, tmp_path, scored):
    output = done("reference", "score", rows, "-m", tiny_model, "-o", tmp_path / "again.parquet", *ENGINE)
    assert "0 sequences scored, 24 from the store" in output
    first = done("reference", "-m", tiny_model, rows, "-o", tmp_path / "third.parquet", *ENGINE)
    assert "0 sequences scored" in first
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "scored.parquet").read_bytes()
    for command in ("score", "export", "verify", "stats", "gc"):
        assert "Usage" in done("reference", command, "--help")
    assert "export" in done("reference", "--help")


def test_a_store_behind_an_address(rows, tiny_model, tmp_path):
    arguments = ("reference", rows, "-m", tiny_model, "-o", tmp_path / "scored.parquet", *ENGINE)
    assert "24 sequences scored, 0 from" in done(*arguments, "--store", "memory://commands/store")
    assert "0 sequences scored, 24 from" in done(*arguments, "--store", "memory://commands/store")
    assert "24 sequences scored, 0 from" in done(*arguments, "--store", f"file://{tmp_path}/there")
    assert len(shards(tmp_path / "there")) == 1
    assert "hf" not in done("reference", "stats", "memory://commands/store")
    assert "cannot be opened" in refused(*arguments, "--store", "nowhere://x")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_export_keeps_every_column_and_scores_nothing(rows, tiny_model, tmp_path, scored, suffix, monkeypatch):
    monkeypatch.setattr("thumbline.pipeline.engines.scoring.open_engine", lambda *arguments: 1 / 0)
    own = tmp_path / f"own.{suffix}"
    frame = pl.DataFrame([*PAIRS[4:], {"id": 99, "prompt": "New?", "chosen": "Yes.", "rejected": "No."}])
    frame.write_parquet(own) if suffix == "parquet" else frame.write_ndjson(own)
    output = done(
        "reference", "export", own, "-m", tiny_model, "-o", tmp_path / "o.parquet", "--store", scored, *ENGINE
    )
    assert "8 pairs rows; left out: not_stored 1" in output
    exported = pl.read_parquet(tmp_path / "o.parquet")
    assert exported.select(frame.columns).equals(frame.head(8))
    whole = pl.read_parquet(tmp_path / "scored.parquet")
    columns = ["ref_chosen_logps", "ref_rejected_logps"]
    assert exported.select(columns).equals(whole.select(columns).tail(8))


def change_template(folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("assistant", "answerer"))


def change_tokenizer(folder):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 77}))


def change_weights(folder):
    save_tiny_model(folder, seed=3)


@pytest.mark.parametrize(
    ("change", "scored_again"),
    [
        (change_template, 24),
        (change_tokenizer, 24),
        (change_weights, 24),
        (lambda folder: (folder / "README.md").write_text("x"), 0),
    ],
)
def test_what_changes_the_numbers_is_another_key(rows, tiny_model, tmp_path, change, scored_again):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    arguments = ("reference", rows, "-m", folder, "-o", tmp_path / "scored.parquet", *ENGINE)
    done(*arguments)
    change(folder)
    assert f"{scored_again} sequences scored, {24 - scored_again} from" in done(*arguments)


def test_another_truncation_rule_scores_the_rows_that_it_cuts_and_no_others(rows, tiny_model, tmp_path):
    long = PAIRS[0] | {"prompt": "When? " * 20}
    rows.write_text(rows.read_text() + json.dumps(long) + "\n")
    arguments = ("reference", rows, "-m", tiny_model, "-o", tmp_path / "scored.parquet", *ENGINE, "--max-tokens", 64)
    said = done(*arguments)
    assert "left out: too_long 1 rows without token ids: too_long 1. too_long: raise --max-tokens (now 64)" in said
    assert "24 sequences scored" in said
    rule = ("--set", "sequences.truncation=keep_end")
    assert "none 2 sequences scored, 24 from" in done(*arguments, *rule)
    # A later rule cuts the same two at another place.
    rule = ("--set", "sequences.truncation=keep_end", "--set", "sequences.max_tokens=60")
    assert "none 2 sequences scored, 24 from" in done(*arguments, *rule)


def test_export_of_rows_that_nobody_scored_says_what_to_do(rows, tmp_path, scored, tmp_path_factory):
    other = save_tiny_model(tmp_path_factory.mktemp("other"), seed=1)
    message = refused(
        "reference", "export", rows, "-m", other, "-o", tmp_path / "o.parquet", "--store", scored, *ENGINE
    )
    assert "holds no log-prob of these rows for this model" in message


def test_token_logps_are_written_where_asked_for(rows, tiny_model, tmp_path):
    arguments = ("reference", rows, "-m", tiny_model, "-o", tmp_path / "scored.parquet", *ENGINE)
    done(*arguments)
    # The store has sums alone: values a token take another scoring, and serve both from then on.
    assert "24 sequences scored" in done(*arguments, "--set", "reference.token_logps=true")
    frame = pl.read_parquet(tmp_path / "scored.parquet")
    assert frame["ref_chosen_token_logps"].list.len().to_list() == frame["chosen_token_count"].to_list()
    sums = frame["ref_rejected_token_logps"].list.eval(pl.element().cast(pl.Float64)).list.sum()
    assert sums.to_list() == pytest.approx(frame["ref_rejected_logps"].to_list(), abs=1e-9)
    assert "0 sequences scored" in done(*arguments, "--set", "reference.token_logps=true")
    assert "0 sequences scored" in done(*arguments)


def test_verify_agrees_with_what_was_stored(finished, rows, tiny_model, scored):
    output = done("reference", "verify", finished.run_dir, "--rows", 5)
    assert "sequences stored (by transformers); 5 scored again by transformers" in output
    settings = ("--set", "reference.engine=hf", "--set", "reference.dtype=float32")
    assert "24 of 24" in done("reference", "verify", rows, "-m", tiny_model, "--store", scored, *settings)
    assert "need both" in refused("reference", "verify", rows, "-m", tiny_model)


def test_verify_fails_where_stored_numbers_are_off(rows, tiny_model, scored, monkeypatch):
    monkeypatch.setattr("thumbline.pipeline.engines.hf.token_logps", lambda hidden, *other: hidden[:, 0] * 0 - 1.0)
    settings = ("--set", "reference.engine=hf", "--set", "reference.dtype=float32")
    result = invoke("reference", "verify", rows, "-m", tiny_model, "--store", scored, *settings)
    assert result.exit_code == 1
    assert "24 of 24 checked sequences differ" in " ".join(result.output.split())


def test_verify_and_stats_name_broken_shards(rows, tiny_model, scored, tmp_path, monkeypatch):
    # Wide enough for a worker's long paths, whatever the width was when the terminal was first asked for it.
    monkeypatch.setattr(terminal.out, "_width", 400)
    settings = ("--set", "reference.engine=hf", "--set", "reference.dtype=float32")
    done("reference", rows, "-m", tiny_model, "-o", tmp_path / "s.parquet", *ENGINE, "--max-tokens", 30)
    extra = tmp_path / "more.jsonl"
    extra.write_text(json.dumps(PAIRS[0] | {"prompt": "Another?"}) + "\n")
    done("reference", extra, "-m", tiny_model, "-o", tmp_path / "s.parquet", *ENGINE)
    victim = min(shards(scored), key=lambda path: path.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-9])
    stats = invoke("reference", "stats", scored).output.splitlines()
    assert stats[0].split()[-4:] == ["sequences", "tokens", "bytes", "broken"]
    assert stats[1].split()[-4::3] == ["24", "1"]
    result = invoke("reference", "verify", rows, "-m", tiny_model, "--store", scored, *settings)
    assert result.exit_code == 1
    assert "1 shards were broken and are set aside" in " ".join(result.output.split())


def test_gc_keeps_what_runs_refer_to(finished, tiny_model, rows, tmp_path):
    store = Path(finished.store)
    kept = shards(store)
    done("reference", rows, "-m", tiny_model, "-o", tmp_path / "scored.parquet", *ENGINE, "--store", store)
    foreign = set(shards(store)) - set(kept)
    assert len(foreign) == 1
    # What a process left that was killed while it wrote.
    half = next(iter(foreign)).with_name(".x.parquet.123.tmp")
    half.write_bytes(b"PAR1")
    runs = ("--runs", finished.run_dir.parent)
    assert "0 files with 0 sequences" in done("reference", "gc", store, *runs, "--delete")
    age(store)
    assert "2 files with 24 sequences" in done("reference", "gc", store, *runs)
    assert half.exists()
    assert foreign < set(shards(store))
    assert "deleted" in done("reference", "gc", store, *runs, "--delete")
    assert shards(store) == kept
    assert not half.exists()
    # A run that has not finished names no key yet: its sequences are kept under any.
    manifest = finished.run_dir / "reference" / "manifest.json"
    text = manifest.read_text()
    manifest.unlink()
    try:
        assert "0 files" in done("reference", "gc", store, *runs, "--older-than", 1)
    finally:
        manifest.write_text(text)
    assert "nothing would be kept" in refused("reference", "gc", store, "--runs", tmp_path)


def test_the_stage_notes_say_route_and_key(finished):
    notes = read_manifest(finished.run_dir / "reference").notes
    assert notes["route"] == "transformers"
    assert (Path(finished.store) / notes["store_key"]).is_dir()
    assert "switches" not in notes


def test_two_runs_share_a_store_behind_an_address(small_log, tiny_model, tmp_path):
    section = {"store": "memory://line/store", "token_logps": True}
    configs = [
        load_config(write_config(tmp_path, small_log, tiny_model, name=name, reference=section))
        for name in ("one", "two")
    ]
    for config in configs:
        list(line.run(config, line.select(None, "reference")))
    notes = [read_manifest(config.run_dir / "reference").notes for config in configs]
    assert notes[0]["scored"] == notes[1]["stored"] > notes[1]["scored"] == 0
    tables = [config.run_dir / "reference" / "reference.parquet" for config in configs]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    frame = pl.read_parquet(tables[0])
    assert frame.schema == polars_schema("reference", optional=True)
    assert (frame["token_logps"].list.len() == frame["token_count"]).all()


def test_a_reference_with_an_adapter_is_what_training_begins_with(small_log, tiny_model, tmp_path):
    adapter = save_lora(tmp_path / "adapter", tiny_model, ("model.layers.0.mlp.up_proj",))
    plain = load_config(write_config(tmp_path, small_log, tiny_model, train={"max_steps": 1}))
    adapted = plain.model_copy(
        update={"name": "adapted", "reference": plain.reference.model_copy(update={"adapter": str(adapter)})}
    )
    tables = []
    for config in (plain, adapted):
        list(line.run(config, line.select(None, "train")))
        tables.append(pl.read_parquet(config.run_dir / "reference" / "reference.parquet"))
    assert tables[0]["sequence_id"].equals(tables[1]["sequence_id"])
    assert not tables[0]["logps"].equals(tables[1]["logps"])
    parity = read_manifest(adapted.run_dir / "train").notes["parity"]
    assert parity["mean_difference"] < 1e-3
    assert parity["margins"]["pairs"] > 0
    assert parity["margins"]["flipped"] == 0


def test_rows_of_other_layouts_are_scored_with_stated_columns_and_what_was_not_read_is_said(tiny_model, tmp_path):
    path = tmp_path / "swift.jsonl"
    chat = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "In May."}]
    row = {"messages": chat, "worse": "Go.", "persona": "Be brief.", "source": "web"}
    path.write_text(json.dumps(row) + "\n")
    arguments = ("reference", path, "-m", tiny_model, "-o", tmp_path / "scored.parquet", *ENGINE)
    options = "events.options={rejected: worse, system: persona}"
    output = done(*arguments, "--set", "events.format=conversations", "--set", options)
    assert "1 pairs rows" in output
    assert "columns of text that were not read: source (1 row)" in output
    (scored,) = pl.read_parquet(tmp_path / "scored.parquet").to_dicts()
    assert [message["role"] for message in scored["prompt"]] == ["system", "user"]
    assert scored["ref_chosen_logps"] < 0 and scored["ref_rejected_logps"] < 0
