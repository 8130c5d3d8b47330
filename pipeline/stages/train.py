"""Training rows and stored reference log-probs to a trained model: no reference model is ever loaded.

Before the first step the parity gate compares stored log-probs with the untrained policy's own.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from thumbline.plugins import origins

from ..config import RunConfig, TrainConfig
from ..config.keeping import TrackingConfig
from ..context import StageContext, StageResult
from ..engines.adapters import adapter_digest, merge_adapter, resolve_adapter
from ..engines.models import DEMO_MODEL, model_digest, resolve_model
from ..engines.registry import choose_sampler, sampler_identity
from ..engines.scoring import SCRATCH, scratch_folder
from ..judges.registry import outside
from ..peers import peers
from ..storage.manifests import Counts
from ..tables import polars_schema
from ..training.asked import asking_identity, choosing_settings
from ..training.methods import check_methods, check_shared, main_method

if TYPE_CHECKING:
    from ..training.adapters import Base
    from ..training.checkpoints import LogRow
    from ..training.choosing import Chosen
    from ..training.learning import Learning
    from ..training.parallel.team import Team
    from ..training.parity import Parity
    from ..training.policy import Policy
    from ..training.probe import Choice
    from ..training.trainer import Trainer
    from ..training.watching import Watch

VERSION = 7
INPUTS = ("pairs", "unpaired", "splits", "sequences", "row_sequences", "reference")
OUTPUTS = ("training_log", "parity")
MODEL = "model"
FOLDERS = (MODEL,)
# Settings that runs which were made before do not have.
_LATER = ("most_rows", "only_model", "ratio_floor", "ratio_ceiling", "reference_steps")


def settings(config: RunConfig) -> dict[str, Any]:
    """The stage's own settings; when a checkpoint is kept changes nothing, and who looks on neither.

    Nor is it counted over how many processes the work was shared: that moves rounding alone.
    """
    kept = {"checkpoint_every", "checkpoint_minutes", "keep_checkpoints"}
    # What is unset changes no fingerprint of a run that was made before the setting was there.
    unset = {name for name in _LATER if getattr(config.train, name) is None}
    unset |= set() if _samples_answers(config) else {"rollouts"}
    excluded = {*kept, "distributed", *TrackingConfig.model_fields, "choose", *unset}
    own = config.train.model_dump(mode="json", exclude=excluded)
    return own | (choosing_settings(config) if config.train.choose == "frontier" else {})


def _samples_answers(config: RunConfig) -> bool:
    return main_method(config.train).spec.samples_answers


def also_reads(config: RunConfig) -> tuple[str, ...]:
    """Who wrote which answer, where that decides; prompts that steps answer; what scores or judges sampled answers."""
    chooses = config.train.choose == "frontier"
    judged = chooses and config.judges[0].judge == "thumbs"
    written = chooses or config.train.only_model is not None
    return (
        *(("responses",) if written else ()),
        *(("texts",) if chooses else ()),
        *(("thumbs_model",) if judged or _samples_answers(config) else ()),
    )


def external(config: RunConfig) -> Mapping[str, str]:
    """Digests of the untrained model, and of the adapter that it begins with; the packages that add its methods."""
    digests = {"untrained_model": model_digest(resolve_model(config.model, config.revision))}
    if config.reference.adapter is not None:
        digests["adapter"] = adapter_digest(resolve_adapter(config.reference.adapter))
    if config.train.choose == "frontier":
        digests |= {**asking_identity(config), **outside(config.judges[:1])}
    if _samples_answers(config):
        digests["answers_by"] = sampler_identity(choose_sampler(config.train.rollouts.engine), config.reference)[
            "engine"
        ]
    return digests | origins("thumbline.losses", config.train.methods)


def run(context: StageContext) -> StageResult:
    """Read rows and log-probs, gate, train, and write the model, `training_log` and `parity`."""
    check_methods(context.config)
    with scratch_folder(context.folder) as scratch, _team(context) as team:
        return _written(context, _trained(context, scratch, team))


def take_part(context: StageContext) -> None:
    """What a process other than the first does of `run`: everything but to write."""
    with _team(context) as team:
        _trained(context, context.folder / SCRATCH / f"process-{team.rank}", team)


@contextmanager
def _team(context: StageContext) -> "Iterator[Team]":
    """Those who train: all processes of the command, which the first calls for, or this one alone."""
    from ..training.parallel.team import ALONE, joined
    from ..training.parallel.wrapping import own_device, way_of

    config, found = context.config.train, peers()
    if found is None or way_of(config.distributed, config.adapter) == "none":
        yield ALONE
        return
    if found.is_first:
        check_shared(context.config)
        found.call(json.dumps({"stage": "train", "run_dir": str(context.run_dir.resolve())}))
    device = own_device(config.device, found)
    with joined(found.group_store(), found.rank, found.size, device) as team:
        yield team


class _Trained(NamedTuple):
    """What training gave, in the process that writes it.

    Attributes:
        policy: The trained model, whole; None in a process other than the first.
        model_dir: The untrained one.
        trainer: Rows and settings.
        learning: What it was trained towards, and on.
        log: Table `training_log`.
        compared: Table `parity`.
        gate: What the parity gate found.
        layout: How sequences became forward passes.
        way: How the model lay on the processes.
    """

    policy: "Policy | None"
    model_dir: Path
    trainer: "Trainer"
    learning: "Learning"
    log: "list[LogRow]"
    compared: pl.DataFrame
    gate: "Parity"
    layout: "Choice"
    way: str


def _trained(context: StageContext, scratch: Path, team: "Team") -> _Trained:
    # Imported here, so that a run that skips training does not wait for torch and transformers.
    from ..training import parity
    from ..training.learning import learnt, logged_kind
    from ..training.parallel.wrapping import copied, shared_out, way_of, whole_policy
    from ..training.probe import with_layout
    from ..training.stored import rows_of_splits
    from ..training.trainer import Trainer

    config = context.config.train
    way = way_of(config.distributed, config.adapter) if team.is_several else "none"
    rows = rows_of_splits(context, scratch, logged_kind(context))
    model_dir = resolve_model(context.config.model, context.config.revision)
    device = "cpu" if way == "fsdp" else str(team.device or config.device)
    policy = _policy(context.config, model_dir, device, hollow=way == "fsdp" and not team.is_first)
    if way == "fsdp":
        policy = shared_out(policy, team)
    own_attention = policy.model.config._attn_implementation
    layout = with_layout(policy, config.layout, team)
    policy, refusal = layout.policy, layout.refusal()
    if refusal is not None:
        context.reporter.say(refusal)
    if way == "ddp":
        policy = copied(policy)
    sample = parity.sample_of(rows["train"], config.parity_rows)
    # Judged by the first process's numbers, so that the gate lets all pass or none.
    compared = team.from_first(parity.compare(policy, sample.sequences, config.micro_batch_rows))
    gate = parity.judge(compared, config, sample.pairs)
    parity.enforce(gate, config.dtype)
    with (
        learnt(context, policy, rows, own_attention, model_dir) as learning,
        _watch(context, policy, team) as watch,
    ):
        trainer = Trainer(
            policy,
            learning.objective,
            config,
            learning.rows["train"],
            learning.rows["validation"][: config.validation_rows],
            context.folder,
            team=team,
            watch=watch,
            stepping=learning.stepping,
        )
        with context.reporter.progress(f"training ({config.method})", trainer.total_steps(), "steps") as advance:
            log = trainer.run(advance)
    trained = whole_policy(policy, team, lambda: _policy(context.config, model_dir, "cpu"))
    return _Trained(trained, model_dir, trainer, learning, log, compared, gate, layout, way)


@contextmanager
def _watch(context: StageContext, policy: "Policy", team: "Team") -> "Iterator[Watch]":
    """Who looks on: the trackers and the progress line, in the first process alone."""
    from ..training.tracked import looked_on
    from ..training.watching import UNWATCHED

    if not team.is_first:
        yield UNWATCHED
        return
    with looked_on(context.config, policy, context.reporter, context.fingerprint) as watch:
        yield watch


def _policy(config: RunConfig, model_dir: Path, device: str, *, hollow: bool = False) -> "Policy":
    """The untrained policy: the model, with what it begins with and what is trained of it."""
    from ..training.adapters import with_adapter
    from ..training.policy import load_policy

    train = config.train
    policy = load_policy(
        model_dir,
        device=device,
        dtype=train.dtype,
        gradient_checkpointing=train.gradient_checkpointing,
        weights=train.weights,
        hollow=hollow,
    )
    if config.reference.adapter is not None:
        # The policy begins where the reference stands.
        merge_adapter(policy.model, resolve_adapter(config.reference.adapter))
    return policy if train.adapter == "none" else with_adapter(policy, train)


def _written(context: StageContext, trained: _Trained) -> StageResult:
    from ..training import checkpoints
    from ..training.stored import of_split

    config, trainer = context.config.train, trained.trainer
    assert trained.policy is not None
    saves_adapter = config.save == "adapter"
    base = _base(context.config, trained.model_dir) if saves_adapter else None
    chosen = _chosen(context, trained, base) if config.choose == "frontier" else None
    checkpoints.save_model(trained.policy, trained.model_dir, context.folder / MODEL, base)
    checkpoints.remove_checkpoints(context.folder)
    table = pl.DataFrame(trained.log, schema=polars_schema("training_log"), orient="row")
    asked = len(trainer.rows)
    if not _samples_answers(context.config):
        kind = main_method(config).spec.rows
        own = ("pair_id",) if kind == "pairs" else ("response_id", "label")
        asked = of_split(context, "train", own, kind, config).height
    return StageResult(
        outputs={
            "training_log": context.write("training_log", table),
            "parity": context.write("parity", trained.compared.sort("sequence_id")),
        },
        files={MODEL: (adapter_digest if saves_adapter else model_digest)(context.folder / MODEL)},
        counts=Counts(rows_in=asked, rows_out=len(trainer.rows), rejected=asked - len(trainer.rows)),
        notes=_notes(config, trained, chosen),
    )


def _chosen(context: StageContext, trained: _Trained, base: "Base | None") -> "Chosen":
    """The step that the answers of each validation point choose; its weights are put into the trained model."""
    from ..training.best import load_best
    from ..training.checkpoints import put_weights
    from ..training.choosing import choose_step

    config, policy = context.config, trained.policy
    assert policy is not None
    # Models of their own: what is written is rounded and merged in place.
    chosen = choose_step(context, trained.model_dir, base, lambda: _policy(config, trained.model_dir, "cpu"))
    if chosen.step is not None:
        put_weights(policy.model, load_best(context.folder, chosen.step))
    for sentence in chosen.said:
        context.reporter.say(sentence)
    return chosen


def _notes(config: TrainConfig, trained: _Trained, chosen: "Chosen | None") -> dict[str, Any]:
    from ..training.keeping import ending_of

    trainer = trained.trainer
    ending = ending_of(trained.log, config, trainer.total_steps())
    if chosen is not None:
        ending = chosen.ending(ending)
    notes = {
        "method": config.method,
        "loss": trained.learning.hyper_parameters,
        "also": [term.model_dump() for term in config.also],
        "steps": ending.step,
        "ended": ending.why,
        "weights_of": ending.kept,
        "weights_of_step": ending.kept_step,
        "device": str(trainer.policy.device),
        "layout": trained.layout.notes(),
        "parity": trained.gate.notes(),
        "validation_rows": len(trainer.validation),
        **trained.learning.notes,
    }
    if chosen is not None:
        notes["frontier"] = chosen.notes()
    if not trainer.team.is_several:
        return notes
    return notes | {"processes": trainer.team.size, "distributed": trained.way}


def _base(config: RunConfig, model_dir: Path) -> "Base":
    """What an adapter calls the model that it is for: its hub id, or where it lies."""
    from ..training.adapters import Base

    if config.model == DEMO_MODEL or Path(config.model).is_dir():
        return Base(str(model_dir.resolve()), None)
    return Base(config.model, config.revision)
