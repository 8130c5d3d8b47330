"""The exported data set loads with `datasets` and trains in TRL's own trainers without a change."""

import pytest
from datasets import load_dataset

from tests.line.conftest import write_log
from tests.tiny import save_tiny_model
from thumbline.pipeline import line
from thumbline.pipeline.api.settings import run_config
from thumbline.pipeline.dataset import export_dataset

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
