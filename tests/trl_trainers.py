"""The same rows through our trainer and through TRL's: same weights, order, batches, rates and stored log-probs.

TRL's trainers are handed token ids and stored reference log-probs, so that neither its tokenisation nor its reference
pass is compared. What remains is its collator, its model call, its loss and its loop, none of them changed.
"""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from thumbline.losses import Term
from thumbline.pipeline.config import TrainConfig
from thumbline.pipeline.training.adapters import with_adapter
from thumbline.pipeline.training.batches import micro_batches, step_rows
from thumbline.pipeline.training.objective import Objective
from thumbline.pipeline.training.policy import Policy, load_policy
from thumbline.pipeline.training.probe import with_layout
from thumbline.pipeline.training.rows import PairRow, Row, TrainingSequence, UnpairedRow
from thumbline.pipeline.training.trainer import Trainer

# Rates that rise or fall would hide an error in the first steps; clipping and decay are the defaults of both.
STEADY: dict[str, Any] = {"schedule": "constant", "warmup_fraction": 0.0, "validation_rows": 0}


class TrlClasses(NamedTuple):
    """A trainer of TRL's and the class of its settings."""

    trainer: type
    config: type


class Lengths(NamedTuple):
    """Tokens of a random pair: of its prompt, of the chosen and of the rejected completion."""

    prompt: int
    chosen: int
    rejected: int


def ids(count: int, vocabulary: int, generator: torch.Generator) -> tuple[int, ...]:
    """Random token ids above those that tokenizers keep for themselves."""
    return tuple(torch.randint(5, vocabulary, (count,), generator=generator).tolist())


def sequence(name: str, prompt: Sequence[int], completion: Sequence[int], nats: float = -9.0) -> TrainingSequence:
    """A sequence whose stored log-prob is `nats` a token."""
    return TrainingSequence(name, tuple(prompt), tuple(completion), nats * len(completion))


def random_pairs(rows: Sequence[Lengths], vocabulary: int, seed: int = 0) -> list[PairRow]:
    """Pairs of random tokens, of the lengths given."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number, lengths in enumerate(rows):
        prompt = ids(lengths.prompt, vocabulary, generator)
        sides = [
            sequence(f"{2 * number + side:032x}", prompt, ids(length, vocabulary, generator))
            for side, length in enumerate((lengths.chosen, lengths.rejected))
        ]
        made.append(PairRow(f"{number:032x}", *sides, 1.0, 1.0))
    return made


def alternating(pairs: Sequence[PairRow]) -> list[UnpairedRow]:
    """One row of each pair, its better answer and its worse one in turn; and the row before's with its prompt."""
    sides = [pair.chosen if number % 2 == 0 else pair.rejected for number, pair in enumerate(pairs)]
    made = []
    for number, (pair, own) in enumerate(zip(pairs, sides, strict=True)):
        other = sides[number - 1].completion_token_ids
        mismatched = sequence(f"{number:032x}", own.prompt_token_ids, other)
        label = number % 2 == 0
        made.append(UnpairedRow(pair.row_id, own, mismatched, label, 1.0, float(label)))
    return made


def with_reference(rows: Sequence[Row], model_dir: Path) -> list[Row]:
    """The rows with the log-probs that the untrained model gives them in float32, as the stage `reference` stores."""
    policy = load_policy(model_dir, device="cpu", dtype="float32", gradient_checkpointing=False)

    def scored(one: TrainingSequence | None) -> TrainingSequence | None:
        if one is None:
            return None
        passed = policy.pass_over([one], tokens=True)
        assert passed.tokens is not None
        tokens = passed.tokens.logps[passed.tokens.mask].numpy()
        return replace(one, reference_logps=float(passed.completions.logps), reference_token_logps=tokens)

    with torch.no_grad():
        return [
            replace(row, chosen=scored(row.chosen), rejected=scored(row.rejected))
            if isinstance(row, PairRow)
            else replace(row, matched=scored(row.matched), mismatched=scored(row.mismatched))
            for row in rows
        ]


def our_trainer(model_dir: Path, config: TrainConfig, rows: Sequence[Row], folder: Path) -> Trainer:
    """Our trainer of the model in a folder, on the rows, with the settings as they are, on the CPU."""
    policy = load_policy(
        model_dir,
        device="cpu",
        dtype=config.dtype,
        gradient_checkpointing=config.gradient_checkpointing,
        weights=config.weights,
    )
    return trainer_of(policy, config, rows, folder)


def trainer_of(policy: Policy, config: TrainConfig, rows: Sequence[Row], folder: Path) -> Trainer:
    """Our trainer of a policy, with the adapter that the settings name and in the layout that they ask for."""
    if config.adapter != "none":
        policy = with_adapter(policy, config)
    policy = with_layout(policy, config.layout).policy
    further = (Term(term.method, term.weight, term.loss) for term in config.also)
    terms = (Term(config.method, 1.0, config.loss), *further)
    objective = Objective(terms, config.micro_batch_rows, weighting=config.weighting, ld_alpha=config.ld_alpha)
    return Trainer(policy, objective, config, rows, (), folder)


def in_our_order(rows: Sequence[Row], config: TrainConfig) -> list[Row]:
    """The rows of steps 1 to `max_steps` as our trainer takes them, one micro-batch after the other."""
    steps = config.max_steps or 0
    taken = [step_rows(rows, step, config.batch_rows, config.seed, config.stratify) for step in range(steps)]
    return [row for step in taken for part in micro_batches(step, config.micro_batch_rows) for row in part]


def trl_trainer(
    model: Any,
    config: TrainConfig,
    rows: Sequence[Row],
    folder: Path,
    *,
    tokenizer: Any = None,
    settings: dict[str, Any] | None = None,
    classes: TrlClasses | None = None,
    each_step: Callable[[int], None] = lambda step: None,
    **other: Any,
) -> Any:
    """TRL's trainer of the rows' kind, on the rows in the order in which they are given.

    Args:
        model: The untrained model, on its device; or the folder of one and its tokenizer, for the CPU.
        config: Steps, batches, rates and dtype, as ours has them.
        rows: All rows of all steps; they are not shuffled.
        folder: Where it may write.
        tokenizer: Of a model that is given itself: TRL asks it for the id of padding.
        settings: What else its configuration is given, such as `loss_type`.
        classes: Its class and that of its configuration; None: by the kind of the rows.
        each_step: Called after each optimiser step with the number of steps done.
        other: What else the trainer is given, such as `peft_config`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.trainer_callback import PrinterCallback, TrainerCallback

    class Told(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            each_step(state.global_step)

    if isinstance(model, Path):
        tokenizer = AutoTokenizer.from_pretrained(model)
        model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    chosen = classes or _classes(rows)
    stored = {"precompute_ref_log_probs": True} if hasattr(chosen.config, "precompute_ref_log_probs") else {}
    own = _arguments(config, folder) | {"use_cpu": model.device.type == "cpu"} | stored
    trainer = _prepared(chosen.trainer)(
        model=model,
        args=chosen.config(**own | (settings or {})),
        train_dataset=_data_set(rows),
        processing_class=tokenizer,
        callbacks=[Told()],
        **other,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _classes(rows: Sequence[Row]) -> TrlClasses:
    import trl

    if isinstance(rows[0], PairRow):
        return TrlClasses(trl.DPOTrainer, trl.DPOConfig)
    return TrlClasses(trl.KTOTrainer, trl.KTOConfig)


def _prepared(trainer: Any) -> Any:
    class Prepared(trainer):  # type: ignore[misc]
        """Rows are tokens already, with the reference's log-probs."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def tokenize_row(self, feature: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
            return _sides(feature)

    return Prepared


def quiet() -> None:
    """Leave the terminal to what is printed on purpose."""
    import datasets
    import transformers

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def _arguments(config: TrainConfig, folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "max_steps": config.max_steps,
        "per_device_train_batch_size": config.micro_batch_rows,
        "gradient_accumulation_steps": config.batch_rows // config.micro_batch_rows,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": 0,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "bf16": config.dtype == "bfloat16",
        "gradient_checkpointing": config.gradient_checkpointing,
        "train_sampling_strategy": "sequential",
        "max_length": None,
        "dataloader_pin_memory": False,
        "report_to": [],
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "disable_tqdm": True,
    }


def _data_set(rows: Sequence[Row]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([_pair(row) if isinstance(row, PairRow) else _unpaired(row) for row in rows])


def _pair(row: PairRow) -> dict[str, Any]:
    return {
        # Trainers without a reference look for text before they ask for tokens.
        "prompt": "",
        "chosen": "",
        "rejected": "",
        "prompt_ids": list(row.chosen.prompt_token_ids),
        "chosen_ids": list(row.chosen.completion_token_ids),
        "rejected_ids": list(row.rejected.completion_token_ids),
        "ref_chosen_logps": row.chosen.reference_logps,
        "ref_rejected_logps": row.rejected.reference_logps,
    }


def _sides(feature: dict[str, Any]) -> dict[str, Any]:
    """What trainers without a reference make of a pair: both sequences whole, with labels at their completions."""
    made: dict[str, Any] = {"prompt_input_ids": feature["prompt_ids"]}
    made["prompt_attention_mask"] = [1] * len(feature["prompt_ids"])
    for side in ("chosen", "rejected"):
        whole = [*feature["prompt_ids"], *feature[f"{side}_ids"]]
        made[f"{side}_input_ids"] = whole
        made[f"{side}_attention_mask"] = [1] * len(whole)
        made[f"{side}_labels"] = [-100] * len(feature["prompt_ids"]) + feature[f"{side}_ids"]
    return made


def _unpaired(row: UnpairedRow) -> dict[str, Any]:
    assert row.mismatched is not None
    return {
        "prompt_ids": list(row.matched.prompt_token_ids),
        "completion_ids": list(row.matched.completion_token_ids),
        "KL_completion_ids": list(row.mismatched.completion_token_ids),
        "label": row.label,
        "ref_logps": row.matched.reference_logps,
        "ref_KL_logps": row.mismatched.reference_logps,
    }
