"""The exported data set loads with `datasets` and trains in TRL's own trainers without a change."""

import json

import pytest
from datasets import load_dataset

import thumbline
from tests import agent_log
from tests.line.conftest import write_log
from tests.tiny import save_tiny_model
from thumbline.pipeline import line
from thumbline.pipeline.api.settings import run_config
from thumbline.pipeline.dataset import export_dataset
from thumbline.pipeline.importers.registry import using

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

# Asks for keys as templates of models do: by `is defined` for one, by truth for another.
_TEMPLATE = (
    "{% if tools %}{{ '<|im_start|>system\n' + tools | tojson + '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message.reasoning_content is defined %}{{ '<think>' + message.reasoning_content + '</think>' }}{% endif %}"
    "{{ message['content'] }}"
    "{% if message.tool_calls is defined %}{% for call in message.tool_calls %}"
    "{{ call.function.name }}{% for key, value in call.function.arguments.items() %}({{ key }}={{ value }}){% endfor %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SAID = {
    "plain": ("Does it freeze", "No, it is warm."),
    "system": ("Be brief.", "No, it is warm."),
    "tools": ('"name": "frost"', "frost(night=night"),
    "results": ("frost(night=night", "No, it is warm."),
    "reasoning": ("Does it freeze", "<think>It is May.</think>No, it is warm."),
}


@pytest.fixture(scope="module", params=agent_log.CASES)
def agent_case(request, tmp_path_factory):
    """A case, and the folder of its data set, from the log on."""
    folder = tmp_path_factory.mktemp(request.param)
    log = folder / "log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in agent_log.rows(request.param)))
    with using(agent_log.SPEC):
        prepared = thumbline.prepare(str(log), output=folder / "out", format="agent_log")
    return request.param, prepared.dataset


@pytest.mark.parametrize("kind", ["pairs", "unpaired"])
def test_what_messages_carry_is_trained_on_by_trls_trainers(agent_case, kind, tmp_path):
    case, folder = agent_case
    model = str(save_tiny_model(tmp_path / "model", template=_TEMPLATE))
    trainer_class, config_class = {
        "pairs": (trl.DPOTrainer, trl.DPOConfig),
        "unpaired": (trl.KTOTrainer, trl.KTOConfig),
    }[kind]
    trainer = trainer_class(
        model=model,
        args=arguments(config_class, tmp_path),
        train_dataset=load(folder, kind)["train"],
        processing_class=tokenizer(model),
    )
    assert trainer.train().training_loss > 0
    side = "chosen_ids" if kind == "pairs" else "completion_ids"
    asked, answered = (
        {tokenizer(model).decode(row[name]) for row in trainer.train_dataset} for name in ("prompt_ids", side)
    )
    prompt, answer = _SAID[case]
    assert all(prompt in text for text in asked) and any(answer in text for text in answered)


def test_trls_token_ids_of_the_data_set_are_those_that_we_train_on(agent_case, tmp_path):
    _, folder = agent_case
    model = save_tiny_model(tmp_path / "model", template=_TEMPLATE)
    run = {
        "name": "ours",
        "runs": str(tmp_path),
        "model": str(model),
        "sequences": {"scope": "all", "max_tokens": 1024},
    }
    with using(agent_log.SPEC):
        log = {"inputs": [str(folder.parents[1] / "log.jsonl")], "format": "agent_log"}
        ours = thumbline.run(run | {"events": log}, until="sequences").tables["sequences"]
    trainer = trl.KTOTrainer(
        model=str(model),
        args=arguments(trl.KTOConfig, tmp_path),
        train_dataset=load(folder, "unpaired")["train"],
        processing_class=tokenizer(str(model)),
    )
    end = tokenizer(str(model)).eos_token_id
    sequences = {(*row["prompt_token_ids"], *row["completion_token_ids"]) for row in ours.iter_rows(named=True)}
    for row in trainer.train_dataset:
        ids = [*row["prompt_ids"], *row["completion_ids"]]
        # What a template writes after the end of a turn is not trained on here.
        while ids[-1] != end:
            ids.pop()
        assert tuple(ids) in sequences
