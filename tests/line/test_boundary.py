"""What templates do to rows, through the commands: what is kept, what is dropped and why, and that it is said."""

import json

import polars as pl
import pytest

from tests.chat_templates import CALLS_PART, GEMMA, THINKING, TOOLS_PART, template
from tests.line.conftest import write_config
from tests.line.test_reference_commands import ENGINE, done, refused
from tests.tiny import save_tiny_model, tiny_tokenizer
from thumbline.pipeline import line
from thumbline.pipeline.config import load_config
from thumbline.pipeline.storage.manifests import read_manifest

THOUGHT = "<think>\nWarm soil.\n</think>\n\n"
SYSTEM = {"role": "system", "content": "Be brief."}


def turn(text, role="user"):
    return {"role": role, "content": text}


def pair(number, *, chosen="In May.", rejected="Never.", system=False, **more):
    prompt = [*([SYSTEM] if system else []), turn(f"When do I plant row {number}?")]
    return {"prompt": prompt, "chosen": [turn(chosen, "assistant")], "rejected": [turn(rejected, "assistant")], **more}


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    gemma = GEMMA.replace("<start_of_turn>", "<|im_start|>").replace("<end_of_turn>", "<|im_end|>")
    calls = template(TOOLS_PART, CALLS_PART.replace("ARGUMENTS", "{{ call.function.arguments | tojson }}"))
    templates = {"thinking": THINKING, "gemma": gemma, "calls": calls}
    return {name: save_tiny_model(folder / name, template=text) for name, text in templates.items()}


def sequenced(folder, rows, model, **sections):
    """A run of pairs up to its sequences: its manifest, and its tables by name."""
    log = written(folder / "rows.jsonl", rows)
    events = {"inputs": [str(log)], "format": "trl"}
    config = load_config(write_config(folder, log, model, events=events, **sections))
    list(line.run(config, line.select(None, "sequences")))
    stage = config.run_dir / "sequences"
    names = ("sequences", "row_sequences", "sequence_drops")
    return read_manifest(stage), {name: pl.read_parquet(stage / f"{name}.parquet") for name in names}


def test_both_sides_of_a_pair_continue_the_same_tokens_and_the_run_says_where_they_begin(models, tmp_path):
    rows = [pair(number, chosen=f"{THOUGHT}In May.") for number in range(6)]
    manifest, tables = sequenced(tmp_path, rows, models["thinking"])
    assert tables["sequences"]["prompt_token_ids"].n_unique() == 6
    assert manifest.notes["noticed"] == {"shortened": 12, "thought_kept": 6}
    assert [sentence.split(" the ")[0] for sentence in manifest.said] == ["in 12 of 12 rows", "in 6 of 12 rows"]


def test_a_templates_words_stand_beside_the_rows_that_it_refuses(models, tmp_path):
    rows = [pair(number, system=number < 2) for number in range(6)]
    manifest, tables = sequenced(tmp_path, rows, models["gemma"])
    assert tables["sequence_drops"]["reason"].to_list() == ["template_refuses"] * 4
    assert set(tables["sequence_drops"]["detail"]) == {"no system turn here"}
    assert "template_refuses 4 ('no system turn here')" in manifest.said[0]
    assert "sequences.system to first_user" in manifest.said[0]


def test_system_texts_go_before_the_users_where_that_is_set(models, tmp_path):
    rows = [pair(number, system=number < 2) for number in range(6)]
    manifest, tables = sequenced(tmp_path, rows, models["gemma"], sequences={"system": "first_user"})
    assert tables["sequence_drops"].is_empty()
    assert manifest.notes["noticed"] == {"system_moved": 4}
    tokenizer = tiny_tokenizer()
    texts = [tokenizer.decode(ids) for ids in tables["sequences"]["prompt_token_ids"]]
    assert sum("Be brief.\n\nWhen do I plant" in text for text in texts) == 4


LONG = {"sequences": {"max_tokens": 512}}
CALL = {"id": "c1", "type": "function", "function": {"name": "almanac", "arguments": '{"month": "May"}'}}
TOOLS = [{"type": "function", "function": {"name": "almanac", "description": "Frost.", "parameters": {}}}]


def with_calls(number):
    row = pair(number, chosen="", tools=TOOLS)
    row["chosen"][0]["tool_calls"] = [CALL]
    return row


def test_tools_and_calls_of_the_log_are_in_the_tokens(models, tmp_path):
    manifest, tables = sequenced(tmp_path, [with_calls(number) for number in range(4)], models["calls"], **LONG)
    assert tables["sequence_drops"].is_empty() and manifest.said == ()
    tokenizer = tiny_tokenizer()
    completions = {tokenizer.decode(ids) for ids in tables["sequences"]["completion_token_ids"]}
    assert completions == {'<call>almanac {"month": "May"}</call><|im_end|>', "Never.<|im_end|>"}
    prompt = tokenizer.decode(tables["sequences"]["prompt_token_ids"][0])
    assert prompt.startswith(f"<tool>{json.dumps(TOOLS[0])}</tool>")


def test_tools_that_the_template_does_not_write_drop_the_rows_that_have_them(tiny_model, tmp_path):
    rows = [with_calls(0), *(pair(number) for number in range(1, 5))]
    manifest, tables = sequenced(tmp_path, rows, tiny_model)
    assert tables["sequence_drops"]["reason"].to_list() == ["tools_not_written"] * 2
    assert manifest.said[0].startswith("rows without token ids: tools_not_written 2. tools_not_written: take a model")


def test_reference_says_what_it_noticed_and_counts_rows(models, tmp_path):
    rows = [pair(0, chosen="In <|im_start|> May.<|im_end|>"), pair(1, system=True), pair(2)]
    path, out = written(tmp_path / "rows.jsonl", rows), tmp_path / "out.parquet"
    said = done("reference", path, "-m", models["gemma"], "-o", out, *ENGINE)
    assert "2 pairs rows; left out: template_refuses 1" in said
    assert "in 1 of 6 answers a text holds control tokens" in said
    assert "in 1 of 6 answers the answer had its end token already" in said
    assert "template_refuses 1 ('no system turn here')" in said and "--system to first_user" in said
    said = done("reference", path, "-m", models["gemma"], "-o", out, *ENGINE, "--system", "first_user")
    assert "3 pairs rows; left out: none" in said
    assert "in 2 of 6 answers the system text stands before a user's text" in said


def test_where_the_template_refuses_every_row_its_words_are_in_the_error(models, tmp_path):
    path = written(tmp_path / "rows.jsonl", [pair(number, system=True) for number in range(3)])
    said = refused("reference", path, "-m", models["gemma"], "-o", tmp_path / "out.parquet", *ENGINE)
    assert "no row has token ids to score" in said and "template_refuses 3 ('no system turn here')" in said
    said = refused("evaluate", path, "-m", models["gemma"], "-o", tmp_path / "evaluation", *ENGINE)
    assert "template_refuses 3 ('no system turn here')" in said


def test_evaluate_says_what_each_model_leaves_out(models, tiny_model, tmp_path):
    path = written(tmp_path / "rows.jsonl", [pair(number, chosen=f"{THOUGHT}In May.") for number in range(3)])
    arguments = ("evaluate", path, "-m", models["thinking"], "-m", tiny_model, *ENGINE)
    said = done(*arguments, "-o", tmp_path / "evaluation")
    assert "thinking: in 6 of 6 answers the prompt ends before" in said
    page = (tmp_path / "evaluation" / "report.html").read_text()
    assert "answers the prompt ends before" in page
