"""A run's rows through the command and from Python: files, limits, rejects, and the page that goes with them."""

import dataclasses
import json

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import thumbline
from tests import agent_log
from tests.export_rules import RULES
from tests.line.conftest import write_log
from thumbline.pipeline.cli import export as command_module
from thumbline.pipeline.cli import main
from thumbline.pipeline.dataset import export, lines
from thumbline.pipeline.dataset.targets import registry
from thumbline.pipeline.dataset.targets.base import Limits
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.importers.registry import using
from thumbline.pipeline.storage.tables import write_table

OPENED_BY_THE_BOT = [
    {
        "dialog": [
            {
                "id": 0,
                "sender": "b1",
                "text": "Welcome to the garden.",
                "evaluation_score": 1,
                "sender_class": "Bot",
            },
            {"id": 1, "sender": "u1", "text": "Hello there", "evaluation_score": None, "sender_class": "Human"},
            {"id": 2, "sender": "b1", "text": "What do you grow?", "evaluation_score": 0, "sender_class": "Bot"},
        ],
        "start_time": "2018-07-09 04:29:15",
        "end_time": "2018-07-09 04:30:15",
        "participant1_id": {"class": "User", "user_id": "u1"},
        "participant2_id": {"class": "Bot", "user_id": "b1"},
    }
]


def invoke(*arguments):
    return CliRunner().invoke(main.app, [str(argument) for argument in arguments])


def done(*arguments):
    result = invoke(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    log = write_log(folder / "thumbs.jsonl", prompts=40)
    return thumbline.prepare(str(log), output=folder / "out", format="thumbs_jsonl")


def rows_of(prepared, kind, *wanted):
    return prepared.tables[kind].join(prepared.splits, on="prompt_id").filter(pl.col("split").is_in(list(wanted)))


@pytest.mark.parametrize("target", registry.TARGETS)
def test_every_row_of_training_and_validation_is_written_or_counted(prepared, target, tmp_path):
    written = thumbline.export(prepared, target, output=tmp_path)
    kinds = registry.TARGETS[target].kinds
    expected = sum(rows_of(prepared, kind, "train", "validation").height for kind in kinds)
    assert sum(written.rows.values()) + sum(written.rejected.values()) == expected
    for name, count in written.rows.items():
        found = read_lines(tmp_path / name)
        assert len(found) == count
        for line in found:
            RULES[target](line)
    assert len(read_lines(tmp_path / "rejects.jsonl")) == sum(written.rejected.values())
    page = (tmp_path / "README.md").read_text()
    assert all(name in page for name in written.rows) and registry.TARGETS[target].title in page


def test_the_test_split_is_written_on_request_alone_and_goes_when_it_is_not_asked_for(prepared, tmp_path):
    held = rows_of(prepared, "pairs", "test").height
    assert thumbline.export(prepared, "openai", output=tmp_path, test=True).rows["pairs_test.jsonl"] == held > 0
    assert "pairs_test.jsonl" not in thumbline.export(prepared, "openai", output=tmp_path).rows
    assert not (tmp_path / "pairs_test.jsonl").exists()


def test_nothing_of_ones_own_is_written_over_or_removed(prepared, tmp_path):
    (tmp_path / "pairs_of_mine.jsonl").write_text("{}")
    thumbline.export(prepared, "openai", output=tmp_path)
    assert (tmp_path / "pairs_of_mine.jsonl").exists()
    (tmp_path / "rejects.jsonl").unlink()
    for target in ("openai", "trl"):
        with pytest.raises(ConfigError, match=r"holds a README.md of something else; choose another folder"):
            thumbline.export(prepared, target, output=tmp_path)


def test_rows_that_go_to_a_part_no_longer_leave_no_file_there(agents, prepared, tmp_path):
    assert "pairs_tools_train.jsonl" in thumbline.export(agents, "ms-swift", output=tmp_path).rows
    thumbline.export(prepared, "ms-swift", output=tmp_path)
    assert not (tmp_path / "pairs_tools_train.jsonl").exists()


def test_no_test_row_is_in_a_training_file(prepared, tmp_path):
    thumbline.export(prepared, "sagemaker", output=tmp_path)
    asked = {
        line["chosen"][0]["content"]
        for name in ("train", "validation")
        for line in read_lines(tmp_path / f"pairs_{name}.jsonl")
    }
    tested = {prompt[0]["content"] for prompt in rows_of(prepared, "pairs", "test")["prompt"].to_list()}
    assert not asked & tested


@pytest.mark.parametrize("target", ["trl", *registry.TARGETS])
def test_the_same_run_gives_the_same_bytes(prepared, target, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        thumbline.export(prepared, target, output=folder)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_the_command_writes_into_the_run_and_says_what_it_wrote(prepared):
    output = done("export", prepared.folder, "--for", "together")
    folder = prepared.folder / "export" / "together"
    count = len(read_lines(folder / "pairs_train.jsonl"))
    assert f"{folder / 'pairs_train.jsonl'}  {count:,} rows" in output
    assert f"How to use it: {folder / 'README.md'}" in output


def test_the_command_gives_the_data_set_itself_where_no_target_is_named(prepared, tmp_path):
    output = done("export", prepared.folder, "-o", tmp_path)
    train = pl.read_parquet(tmp_path / "pairs" / "train.parquet")
    assert train.equals(pl.read_parquet(prepared.dataset / "pairs" / "train.parquet"))
    assert not (tmp_path / "pairs" / "test.parquet").exists() and "test" not in (tmp_path / "README.md").read_text()
    assert f"{train.height:,} rows" in output


def test_its_help_names_every_target():
    words = command_module.TARGET_NAMES.replace(" or ", ", ").split(", ")
    assert words == [registry.TRL, *registry.TARGETS]


# Tools and thoughts


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agents")
    log = folder / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in agent_log.rows(*agent_log.CASES)))
    with using(agent_log.SPEC):
        return thumbline.prepare(str(log), output=folder / "out", format="agent_log", splits={"test": 0.0})


# Of sixteen prompts a case, what each target cannot take. axolotl's KTO has no chat template: it takes texts alone.
_TEXTS_ALONE = {"reasoning": 16, "tools": 32}
_REFUSED = {
    "openai": {"reasoning": 16},
    **{name: _TEXTS_ALONE for name in ("together", "fireworks", "vertex", "nova", "sagemaker", "nemo-rl")},
    "axolotl": {"reasoning": 16, "tools": 64},
}


@pytest.mark.parametrize("target", registry.TARGETS)
def test_tools_and_thoughts_are_written_or_the_row_is_rejected(agents, target, tmp_path):
    written = thumbline.export(agents, target, output=tmp_path)
    assert dict(written.rejected) == _REFUSED.get(target, {})
    made = [line for name in written.rows for line in read_lines(tmp_path / name)]
    for line in made:
        RULES[target](line)
    text = json.dumps(made)
    assert ("frost" in text) is (target in ("openai", "llama-factory", "axolotl", "ms-swift"))
    assert ("It is May." in text) is (target in ("llama-factory", "axolotl", "ms-swift"))


def test_the_card_of_rows_with_tools_says_so(agents, prepared):
    card = (agents.dataset / "README.md").read_text()
    assert "| `tools` | Tools offered" in card and "of the type `Json`" in card
    plain = (prepared.dataset / "README.md").read_text()
    assert "`tools`" not in plain and "`Json`" not in plain


def test_the_data_set_reads_back_as_the_rows_that_it_holds(agents, tmp_path):
    def held(dataset):
        paths = sorted((dataset / "pairs").glob("*.parquet"))
        rows = pl.concat([pl.read_parquet(path) for path in paths])
        return {json.dumps(row) for row in rows.select("prompt", "chosen", "rejected", "tools").iter_rows()}

    again = thumbline.prepare(str(agents.dataset / "pairs" / "*.parquet"), output=tmp_path, splits={"test": 0.0})
    assert held(again.dataset) == held(agents.dataset)
    # The split without rows is a file that was not read, and no row.
    unread = again.manifests["events"].notes["unread_files"]
    assert again.reasons == {} and [file["reason"] for file in unread] == ["empty_file"]


# Limits


def limited(monkeypatch, target, **limits):
    changed = dataclasses.replace(registry.TARGETS[target], limits=Limits(**limits))
    monkeypatch.setitem(registry.TARGETS, target, changed)


def test_rows_beyond_a_files_rows_are_rejected_as_full(prepared, tmp_path, monkeypatch):
    limited(monkeypatch, "openai", max_rows=5, max_held_out_rows=2)
    written = thumbline.export(prepared, "openai", output=tmp_path)
    assert written.rows == {"pairs_train.jsonl": 5, "pairs_validation.jsonl": 2}
    full = read_lines(tmp_path / "rejects.jsonl")
    assert {reject["reason"] for reject in full} == {lines.FULL} and written.rejected == {lines.FULL: len(full)}
    assert "pairs_train.jsonl has the 5 rows that are taken" in {reject["detail"] for reject in full}


def test_rows_beyond_a_files_bytes_are_rejected_as_full(prepared, tmp_path, monkeypatch):
    limited(monkeypatch, "openai", max_bytes=1_000)
    written = thumbline.export(prepared, "openai", output=tmp_path)
    assert 0 < (tmp_path / "pairs_train.jsonl").stat().st_size <= 1_000
    assert written.rejected[lines.FULL] > 0


def test_too_few_rows_and_long_ones_are_said_in_the_page_and_on_the_terminal(prepared, tmp_path, monkeypatch):
    limited(monkeypatch, "openai", min_rows=1_000, long_row_bytes=100)
    output = " ".join(done("export", prepared.folder, "--for", "openai", "-o", tmp_path).split())
    for text in (output, (tmp_path / "README.md").read_text()):
        assert "takes no fewer than 1,000" in text and "rows have more than 100 bytes" in text


def test_weights_that_no_line_holds_are_said(tmp_path):
    log = write_log(tmp_path / "thumbs.jsonl", prompts=12)
    given = {"output": tmp_path / "out", "format": "thumbs_jsonl", "unpaired": {"weight_by_confidence": True}}
    weighted = thumbline.prepare(str(log), **given)
    written = thumbline.export(weighted, "ms-swift")
    count = rows_of(weighted, "unpaired", "train", "validation").filter(pl.col("weight") != 1.0).height
    assert written.notes == (
        f"{count} rows here have a weight other than 1, for which ms-swift DPO and KTO has no field.",
    )


def test_an_export_without_training_rows_says_so_and_shows_no_command(tmp_path):
    log = write_log(tmp_path / "thumbs.jsonl", prompts=8)
    sections = {"splits": {"test": 0.4, "validation": 0.59}}
    held = thumbline.prepare(str(log), output=tmp_path / "out", format="thumbs_jsonl", **sections)
    splits = held.splits.filter(pl.col("split") != "train")
    write_table(held.folder / "splits" / "splits.parquet", "splits", splits)
    written = thumbline.export(held, "openai")
    assert written.notes == ("No row of pairs is in the training split.",)
    assert "## Use" not in (written.folder / written.page).read_text()


def test_a_result_in_a_temporary_folder_asks_where_to_write(tmp_path):
    rows = [{"prompt": f"When {n}?", "completion": f"Now {n}.", "vote": "up"} for n in range(8)]
    prepared = thumbline.prepare(rows)
    with pytest.raises(ConfigError, match="temporary one that goes with it; give output"):
        thumbline.export(prepared, "ms-swift")
    assert thumbline.export(prepared, "ms-swift", output=tmp_path).rows


def test_stated_limits_are_those_of_the_services():
    stated = {name: target.limits for name, target in registry.TARGETS.items()}
    assert stated["openai"].min_rows == 10 and stated["openai"].max_bytes == 512_000_000
    assert stated["fireworks"].min_rows == 3 and stated["fireworks"].max_rows == 3_000_000
    assert stated["vertex"].max_held_out_rows == 5_000 and stated["vertex"].long_row_bytes == 131_072


# What stays out


def test_rows_without_a_prompt_stay_out_of_the_data_set_and_are_counted(tmp_path):
    (tmp_path / "log.json").write_text(json.dumps(OPENED_BY_THE_BOT))
    output = done("prepare", tmp_path / "log.json", "-o", tmp_path / "out")
    dataset = tmp_path / "out" / "dataset"
    kept = pl.concat([pl.read_parquet(path) for path in sorted((dataset / "unpaired").glob("*.parquet"))])
    assert kept.height == 1 and kept["prompt"].list.len().min() == 2
    assert "rows not written: 1 (empty_prompt 1)" in " ".join(output.split())
    assert "`empty_prompt`: 1" in (dataset / "README.md").read_text()
    assert thumbline.prepare(str(tmp_path / "log.json")).left_out == {"empty_prompt": 1}
    (reject,) = read_lines(dataset / "rejects.jsonl")
    assert (reject["kind"], reject["reason"]) == ("unpaired", "empty_prompt")
    with pytest.raises(InputError, match=r"takes none|has no rows"):
        thumbline.export(tmp_path / "out", "openai")


def test_a_target_that_takes_no_row_is_an_error_with_the_reasons(prepared, tmp_path, monkeypatch):
    limited(monkeypatch, "nova", max_bytes=1)
    with pytest.raises(InputError, match=r"Nova DPO takes none of \d+ rows \(file_is_full \d+\); .*rejects.jsonl"):
        thumbline.export(prepared, "nova", output=tmp_path)


def test_a_run_without_splits_is_told_what_to_do(tmp_path):
    log = write_log(tmp_path / "thumbs.jsonl", prompts=4)
    run = {"name": "short", "runs": str(tmp_path), "model": "demo", "events": {"inputs": [str(log)]}}
    thumbline.run(run, until="events")
    with pytest.raises(InputError, match="no splits here yet, so nothing to export; run the line until 'splits' first"):
        thumbline.export(tmp_path / "short", "openai")


def test_only_the_data_set_goes_to_the_hub(prepared):
    with pytest.raises(ConfigError, match="use --for trl"):
        thumbline.export(prepared, "openai", push_to_hub="ann/garden")
    result = invoke("export", prepared.folder, "--public")
    assert isinstance(result.exception, ConfigError) and "--push-to-hub" in str(result.exception)


# Companions


def test_llama_factorys_description_names_each_file_with_every_tag(prepared, tmp_path):
    written = thumbline.export(prepared, "llama-factory", output=tmp_path)
    described = json.loads((tmp_path / "dataset_info.json").read_text())
    assert {entry["file_name"] for entry in described.values()} == set(written.rows)
    pairs, unpaired = described["pairs_train"], described["unpaired_train"]
    assert pairs["ranking"] is True and pairs["formatting"] == "sharegpt" and len(pairs["tags"]) == 7
    assert unpaired["columns"]["kto_tag"] == "label" and "ranking" not in unpaired
    for entry in (pairs, unpaired):
        (first, *_) = read_lines(tmp_path / entry["file_name"])
        assert set(entry["columns"].values()) <= set(first)


def test_axolotls_parts_are_yaml_that_names_the_files(prepared, tmp_path):
    thumbline.export(prepared, "axolotl", output=tmp_path)
    for name, kind, rl in (("axolotl_dpo.yaml", "pairs", "dpo"), ("axolotl_kto.yaml", "unpaired", "kto")):
        part = yaml.safe_load((tmp_path / name).read_text())
        assert part["rl"] == rl
        assert part["datasets"][0]["path"] == f"{kind}_train.jsonl"
        assert part["test_datasets"][0]["path"] == f"{kind}_validation.jsonl"


def test_the_pages_of_every_target_name_their_files_in_what_is_to_be_typed(prepared, tmp_path):
    for target in registry.TARGETS:
        written = thumbline.export(prepared, target, output=tmp_path / target)
        use = (written.folder / written.page).read_text().split("## Use")[1]
        named = {"llama-factory": "pairs_train", "axolotl": "axolotl_dpo.yaml"}.get(target, "pairs_train.jsonl")
        assert named in use, target


def test_texts_of_any_kind_stay_one_line_a_row():
    text = "a\u2028b\u2029c\x85d\né \ud800"
    line = lines.json_line({"text": text})
    assert line.decode().splitlines() == [line.decode().rstrip("\n")]
    assert json.loads(line) == {"text": text}


def test_exports_folder_is_the_targets_name(prepared):
    assert thumbline.export(prepared, "vertex").folder == prepared.folder / export.FOLDER / "vertex"
