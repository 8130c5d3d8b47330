"""The exported data set loads with `datasets` and trains in TRL's own trainers without a change."""

import json

import polars as pl
import pytest
from datasets import load_dataset

from tests.line.conftest import write_log
from tests.tiny import save_tiny_model
from thumbline.pipeline import line
from thumbline.pipeline.api.settings import run_config
from thumbline.pipeline.dataset import export_dataset
from thumbline.pipeline.dataset.messages import json_messages, write_messages

trl = pytest.importorskip("trl")
pytestmark = pytest.mark.heavy  # its trainers hold whole logits


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    log = write_log(folder / "thumbs.jsonl", prompts=24)
    config = run_config([str(log)], folder / "out", "demo", [])
    list(line.run(config, line.select(None, "splits")))
    return config.run_dir / "dataset", export_dataset(config, "").rows


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_tiny_model(tmp_path_factory.mktemp("model")))


def tokenizer(model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model)


def arguments(config_class, folder):
    return config_class(
        output_dir=str(folder),
        max_steps=2,
        per_device_train_batch_size=2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        disable_tqdm=True,
    )


def load(folder, kind):
    return load_dataset(str(folder), kind)


@pytest.mark.parametrize("kind", ["unpaired", "pairs"])
def test_every_split_loads_with_its_rows(prepared, kind, tmp_path):
    folder, rows = prepared
    loaded = load(folder, kind)
    assert {f"dataset/{kind}/{split}.parquet": len(part) for split, part in loaded.items()} == {
        name: count for name, count in rows.items() if name.startswith(f"dataset/{kind}")
    }


def test_a_folder_written_anew_gives_its_new_rows(tmp_path):
    log, rows = tmp_path / "thumbs.jsonl", []
    for prompts in (24, 30):
        write_log(log, prompts=prompts)
        config = run_config([str(log)], tmp_path / "out", "demo", [])
        list(line.run(config, line.select(None, "splits")))
        written = export_dataset(config, "").rows["dataset/unpaired/train.parquet"]
        assert len(load(config.run_dir / "dataset", "unpaired")["train"]) == written
        rows.append(written)
    assert rows[0] != rows[1]


def test_pairs_train_in_trls_dpo_trainer(prepared, model, tmp_path):
    trainer = trl.DPOTrainer(
        model=model,
        args=arguments(trl.DPOConfig, tmp_path),
        train_dataset=load(prepared[0], "pairs")["train"],
        processing_class=tokenizer(model),
    )
    assert trainer.train().training_loss > 0


def test_unpaired_rows_train_in_trls_kto_trainer(prepared, model, tmp_path):
    kto = pytest.importorskip("trl.experimental.kto") if not hasattr(trl, "KTOTrainer") else trl
    trainer = kto.KTOTrainer(
        model=model,
        args=arguments(kto.KTOConfig, tmp_path),
        train_dataset=load(prepared[0], "unpaired")["train"],
        processing_class=tokenizer(model),
    )
    assert trainer.train().training_loss > 0


# Messages that carry more than text

_MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String, "extra": pl.String}))
_CALL = {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "frost", "arguments": '{"night": 1}'}}]}
_TOOLS = [{"type": "function", "function": {"name": "frost", "parameters": {"type": "object", "properties": {}}}}]
# Asks for keys as templates of models do: by `is defined` for one, by truth for another.
_TEMPLATE = (
    "{% if tools %}{{ '<|im_start|>system\n' + tools | tojson + '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message.reasoning_content is defined %}{{ '<think>' + message.reasoning_content + '</think>' }}{% endif %}"
    "{{ message['content'] }}"
    "{% if message.tool_calls is defined %}{% for call in message.tool_calls %}"
    "{{ call.function.name }}{% for key, value in call.function.arguments.items() %}{{ key }}={{ value }}{% endfor %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TURNS = {
    "a system turn": [("system", "Be brief.", None), ("user", "When?", None)],
    "tools": [("user", "Frost?", None), ("assistant", "", _CALL), ("tool", "no", {"tool_call_id": "c1"})],
    "reasoning": [("user", "When?", None)],
}
_ANSWERS = {
    "a system turn": [("In May.", None), ("Go away.", None)],
    "tools": [("", _CALL), ("No frost.", None)],
    "reasoning": [("In May.", {"reasoning_content": "Beans."}), ("In May.", None)],
}


def listed(*turns):
    return [{"role": role, "content": text, "extra": extra and json.dumps(extra)} for role, text, extra in turns]


def rows_with_more(case):
    """Rows of both kinds that begin and end as their case says."""
    prompt = listed(*_TURNS[case])
    chosen, rejected = (listed(("assistant", *answer)) for answer in _ANSWERS[case])
    tools = json.dumps(_TOOLS) if case == "tools" else None
    unpaired = [
        {"prompt": prompt, "completion": answer, "label": label, "tools": tools}
        for answer, label in ((chosen, True), (rejected, False))
    ]
    pairs = [{"prompt": prompt, "chosen": chosen, "rejected": rejected, "tools": tools}] * 4
    types = dict.fromkeys(("prompt", "chosen", "rejected", "completion"), _MESSAGES) | {"tools": pl.String}
    return {
        kind: pl.DataFrame(rows, schema_overrides={name: types[name] for name in rows[0] if name in types})
        for kind, rows in (("pairs", pairs), ("unpaired", unpaired * 2))
    }


@pytest.mark.parametrize("case", _TURNS)
@pytest.mark.parametrize("kind", ["pairs", "unpaired"])
def test_messages_that_carry_more_train_in_trls_trainers(case, kind, tmp_path):
    write_messages(tmp_path / "rows.parquet", json_messages(rows_with_more(case)[kind], kind), kind)
    files = str(tmp_path / "rows.parquet")
    rows = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    model = str(save_tiny_model(tmp_path / "model", template=_TEMPLATE))
    classes = {"pairs": (trl.DPOTrainer, trl.DPOConfig), "unpaired": (trl.KTOTrainer, trl.KTOConfig)}
    trainer_class, config_class = classes[kind]
    given = {"args": arguments(config_class, tmp_path), "train_dataset": rows, "processing_class": tokenizer(model)}
    trainer = trainer_class(model=model, **given)
    assert trainer.train().training_loss > 0
    side = "chosen_ids" if kind == "pairs" else "completion_ids"
    texts = [tokenizer(model).decode(row[side]) for row in trainer.train_dataset]
    said = {"a system turn": "In May.", "tools": "frostnight=1", "reasoning": "<think>Beans.</think>In May."}[case]
    assert said in texts[0]
