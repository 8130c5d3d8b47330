"""The files of an export through the readers of those whom they are for, where these are installed.

None of them is needed here, and their requirements exclude each other's: `pip install --no-deps` into a folder on
PYTHONPATH, and what an import then asks for, is enough for these tests.
"""

import json

import pytest
import yaml
from datasets import load_dataset

import thumbline
from tests import agent_log
from tests.tiny import save_tiny_model
from thumbline.pipeline.importers.registry import using


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agents")
    log = folder / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in agent_log.rows(*agent_log.CASES)))
    with using(agent_log.SPEC):
        return thumbline.prepare(str(log), output=folder / "out", format="agent_log")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(save_tiny_model(tmp_path_factory.mktemp("model")))


def installed(name):
    return pytest.importorskip(name, exc_type=ImportError)


def rows(path, cache):
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(cache))


def test_togethers_check_passes(agents, tmp_path):
    check_file = installed("together.lib.utils.files").check_file
    written = thumbline.export(agents, "together", output=tmp_path)
    for name, count in written.rows.items():
        report = check_file(tmp_path / name)
        assert report["is_check_passed"] and report["num_samples"] == count, report


def test_llama_factory_converts_and_encodes_every_row(agents, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")
    convert = installed("llamafactory.data.converter").SharegptDatasetConverter
    described = installed("llamafactory.data.parser").get_dataset_list
    template = installed("llamafactory.data.template").get_template_and_fix_tokenizer
    arguments = installed("llamafactory.hparams").DataArguments(template="qwen3")
    written = thumbline.export(agents, "llama-factory", output=tmp_path)
    names = list(json.loads((tmp_path / "dataset_info.json").read_text()))
    assert len(names) == len(written.rows)
    writes = template(tokenizer, arguments)
    for about in described(names, str(tmp_path)):
        for row in rows(tmp_path / about.dataset_name, tmp_path / "cache"):
            made = convert(about, arguments)(row)
            assert len(made["_prompt"]) % 2 == 1 and len(made["_response"]) == 2
            for answer in made["_response"]:
                if answer["content"]:
                    turns = [*made["_prompt"], answer]
                    assert writes.encode_oneturn(tokenizer, turns, made["_system"], made["_tools"])[1]


def test_ms_swift_keeps_every_row_and_tells_both_sides_apart(agents, tmp_path):
    load = installed("swift.dataset.preprocessor").AutoPreprocessor
    inputs = installed("swift.template.template_inputs").TemplateInputs
    written = thumbline.export(agents, "ms-swift", output=tmp_path)
    for name, count in written.rows.items():
        kept = load()(rows(tmp_path / name, tmp_path / "cache"), strict=True, load_from_cache_file=False)
        assert len(kept) == count
        for row in kept:
            made = inputs.from_dict({key: value for key, value in row.items() if value is not None})
            if name.startswith("pairs"):
                assert made.chosen.messages != made.rejected.messages
                assert made.chosen.messages[0] == made.rejected.messages[0]
                assert made.chosen.tools == made.rejected.tools and made.chosen.system == made.rejected.system


def test_axolotls_strategies_write_prompt_and_answers(agents, tokenizer, tmp_path):
    pairs = installed("axolotl.prompt_strategies.dpo.chat_template").default
    unpaired = installed("axolotl.prompt_strategies.kto.chatml").ultra
    settings = installed("axolotl.utils.dict").DictDefault
    thumbline.export(agents, "axolotl", output=tmp_path)
    config = settings(
        yaml.safe_load((tmp_path / "axolotl_dpo.yaml").read_text()) | {"chat_template": "tokenizer_default"}
    )
    made = pairs(config)
    write = made[0] if isinstance(made, tuple) else made
    for row in rows(tmp_path / "pairs_train.jsonl", tmp_path / "cache"):
        texts = write(row, tokenizer=tokenizer)
        assert texts["chosen"].startswith(row["chosen"]["content"])
        assert row["messages"][-1]["content"] in texts["prompt"]
    for row in rows(tmp_path / "unpaired_train.jsonl", tmp_path / "cache"):
        texts = unpaired({})(dict(row))
        assert row["prompt"] in texts["prompt"] and texts["completion"].startswith(row["completion"])
