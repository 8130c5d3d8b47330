"""The methods that a run is set to: what they need, asked of each method's own description, and what is refused.

`losses` is imported where it is used: it loads torch, and a run that skips training should not wait for that.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from thumbline.evaluators.types import RowKind

from ..config import RunConfig, TrainConfig
from ..engines.registry import choose_sampler
from ..errors import ConfigError
from ..libraries import libraries_told
from ..peers import peers
from ..tracking import require_tracker
from .reward.kinds import thumbs_kinds
from .rollouts.checks import check_rollouts

if TYPE_CHECKING:
    from thumbline.losses import Method, Term

# Published methods that are a setting here, since each changes any method of its kind; by the names that one may try.
AS_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "ld_dpo": {
        "setting": "train.ld_alpha: 0.5",
        "title": "LD-DPO",
        "data": "pairs",
        "use it for": "DPO makes answers long: tokens beyond the shorter answer count less.",
    },
    "wpo": {
        "setting": "train.weighting: wpo",
        "title": "WPO",
        "data": "pairs",
        "use it for": "Pairs that other models wrote: those that the policy would write count most.",
    },
    "humanline": {
        "setting": "train.ratio_floor: -1.5, train.ratio_ceiling: 1.5, train.reference_steps: 12",
        "title": "Humanline variants",
        "data": "either",
        "use it for": "Answers of another model than the policy: far tokens count less, the reference follows.",
    },
}
# Other names of them.
_OTHER_NAMES: Final = {"humanline_kto": "humanline", "humanline_dpo": "humanline"}


def setting_instead(name: str) -> str | None:
    """What to set in place of `train.method: NAME` where that method is a setting; None where it is none."""
    known = name.lower().replace("-", "_")
    found = AS_SETTINGS.get(_OTHER_NAMES.get(known, known))
    if found is None:
        return None
    beside = {"pairs": "a method on pairs, dpo for one", "either": "a method with a reference, kto or dpo for one"}
    return f"{found['title']}: set {found['setting']} beside {beside[found['data']]}"


def main_method(config: TrainConfig) -> "Method":
    """The method that is trained, whose rows and rewards are the run's.

    Raises:
        ConfigError: It or one of its hyper-parameters is unknown or out of range.
    """
    return _method(config.method, config.loss)


def all_methods(config: TrainConfig) -> "list[Method]":
    """The method that is trained, then those whose losses are added.

    Raises:
        ConfigError: One of them or of their hyper-parameters is unknown or out of range.
    """
    return [main_method(config), *(_method(term.method, term.loss) for term in config.also)]


def _method(name: str, settings: Mapping[str, Any]) -> "Method":
    with libraries_told("train.method"):
        from thumbline.losses import loss_method

    try:
        return loss_method(name, settings)
    except (ValueError, TypeError) as error:
        instead = setting_instead(name)
        raise ConfigError(f"train: {error}" if instead is None else f"train.method: {instead}.") from error


def terms(config: TrainConfig, desirable: int, undesirable: int) -> "list[Term]":
    """What is added up to the training loss: the method itself, then the others with their weights.

    Args:
        config: Names and hyper-parameters.
        desirable: Training rows of this class, for methods that weigh classes by their counts.
        undesirable: Likewise.
    """
    from thumbline.losses import Term

    weights = [1.0, *(term.weight for term in config.also)]
    settings = [config.loss, *(term.loss for term in config.also)]
    return [
        Term(method.name, weight, method.spec.counted(own, desirable, undesirable))
        for method, weight, own in zip(all_methods(config), weights, settings, strict=True)
    ]


def row_kinds(config: RunConfig) -> tuple[RowKind, ...]:
    """Kinds of rows of the training split that training reads.

    Of a method on prompts, those whose prompts it answers: the ones that the thumbs model learns from; both where that
    is there already.
    """
    spec = main_method(config.train).spec
    if not spec.samples_answers:
        return (spec.rows,)
    return thumbs_kinds(config) or ("unpaired", "pairs")


def makes_mismatched(config: RunConfig) -> bool:
    """Whether rows with another prompt's completion are made: as set, else where a method takes them."""
    if config.sequences.mismatched is not None:
        return config.sequences.mismatched
    return takes_mismatched(config)


def takes_mismatched(config: RunConfig) -> bool:
    """Whether a method takes the log-probs of completions of other prompts."""
    return any(method.needs_mismatched for method in all_methods(config.train))


def check_methods(config: RunConfig) -> None:
    """Refuse methods that are unknown, set out of range, or cannot be trained as the run says.

    Raises:
        ConfigError: Names the method and what to change.
    """
    methods = all_methods(config.train)
    _check_terms(methods)
    _check_steps(methods, config.train)
    _check_weights(methods, config)
    _check_lengths(methods, config)
    _check_ratios(methods, config)
    _check_base(config)
    if any(method.spec.samples_answers for method in methods):
        check_rollouts(methods, config)
    elif config.train.best_by == "penalised_reward":
        raise ConfigError(
            f"train.best_by: penalised_reward is measured of answers that a method on prompts samples (ppo, rloo), and "
            f"{methods[0].name} trains on rows of the log; take loss, accuracy or reward_margin."
        )


def check_training(config: RunConfig) -> None:
    """Say at once, not after an hour of scoring, what would stop training: as `check_methods`, and absent trackers.

    Where several processes train, also what they cannot share.

    Raises:
        ConfigError: Names the method or setting and what to change.
        MissingDependencyError: A tracker is not installed.
    """
    check_methods(config)
    if config.train.distributed != "none" and peers() is not None:
        check_shared(config)
    if main_method(config.train).spec.samples_answers:
        choose_sampler(config.train.rollouts.engine, "train.rollouts.engine")
    for name in config.train.track:
        require_tracker(name, "train.track")


def _check_terms(methods: "list[Method]") -> None:
    """All take one kind of rows, and only the first has a value over the step."""
    first, *others = methods
    sampling = [method for method in methods if method.spec.samples_answers]
    if others and sampling:
        raise ConfigError(
            f"train.also: {sampling[0].name} trains on answers that it samples, and no other loss is added to its own; "
            f"leave train.also empty."
        )
    for method in others:
        if method.spec.paired != first.spec.paired:
            kinds = ("pairs", "unpaired rows") if first.spec.paired else ("unpaired rows", "pairs")
            raise ConfigError(
                f"train.also: {first.name} takes {kinds[0]} and {method.spec.title} {kinds[1]}; add up one kind."
            )
        if method.spec.step_statistic is not None:
            raise ConfigError(
                f"train.also: {method.spec.title} keeps a reference point of its own over a step; make it train.method."
            )


def _check_steps(methods: "list[Method]", config: TrainConfig) -> None:
    whole = [method.name for method in methods if method.takes_whole_steps]
    if whole and config.micro_batch_tokens is not None:
        raise ConfigError(
            f"train.micro_batch_tokens: the loss of {whole[0]} as set compares the rows of a step with each other, so "
            f"that a step is one forward pass; take train.micro_batch_tokens away."
        )
    if whole and config.micro_batch_rows < config.batch_rows:
        raise ConfigError(
            f"train: the loss of {whole[0]} as set compares the rows of a step with each other; set "
            f"train.micro_batch_rows to train.batch_rows ({config.batch_rows}), so that a step is one forward pass."
        )


def check_shared(config: RunConfig) -> None:
    """Refuse settings with which several processes cannot train one model.

    Raises:
        ConfigError: Names the setting and what to change.
    """
    train = config.train
    whole = [method.name for method in all_methods(train) if method.takes_whole_steps]
    if whole:
        raise ConfigError(
            f"train: the loss of {whole[0]} as set compares the rows of a step with each other in one forward pass, "
            f"which several processes cannot share; set train.distributed to none, or start one process."
        )
    if main_method(train).spec.samples_answers:
        raise ConfigError(
            f"train.method: {train.method} samples its answers from one model in one process; set train.distributed to "
            f"none, or start one process."
        )
    alone = [
        method.name
        for method in all_methods(train)
        if getattr(method.config, "reference_point_over", "step") == "micro_batch"
    ]
    if alone:
        raise ConfigError(
            f"train.loss: {alone[0]} takes its reference point over a micro_batch, and which rows that is hangs on the "
            f"number of processes; set reference_point_over to step, or start one process."
        )
    fsdp = train.distributed == "fsdp" or (train.distributed == "auto" and train.adapter == "none")
    if fsdp and (train.optimizer != "adamw" or train.weights == "nf4"):
        raise ConfigError(
            f"train.distributed: fsdp shares out the state of adamw, and weights of float32 or bfloat16; the run sets "
            f"{train.optimizer} and {train.weights}. Take those, or set train.distributed to ddp."
        )
    if fsdp and train.adapter == "none" and train.weights != "float32":
        raise ConfigError(
            "train.distributed: fsdp trains float32 weights, of which each process holds its part; set train.weights "
            "to float32, or train.distributed to ddp."
        )


def _check_weights(methods: "list[Method]", config: RunConfig) -> None:
    paired = methods[0].spec.paired
    if config.train.weighting != "none" and not paired:
        raise ConfigError(
            f"train.weighting: {config.train.weighting} weighs pairs, and {methods[0].name} takes "
            f"{_taken(methods[0])}; set it to none, and see the weights of `unpaired`."
        )
    weighed = config.train.weighting != "none" or (paired and config.pairs.weights != "none")
    unable = [method.name for method in methods if not method.spec.takes_weights]
    if weighed and unable:
        raise ConfigError(
            f"train: {unable[0]} compares ranks, not rows, so its rows cannot weigh differently; set train.weighting "
            f"and pairs.weights to none, or choose another method."
        )


def _check_lengths(methods: "list[Method]", config: RunConfig) -> None:
    if config.train.ld_alpha == 1.0:
        return
    if not methods[0].spec.paired:
        raise ConfigError(
            f"train.ld_alpha: it compares the two lengths of a pair, and {methods[0].name} takes "
            f"{_taken(methods[0])}; set it to 1."
        )
    measured = [method.name for method in methods if method.spec.needs_reference]
    if measured and not config.reference.token_logps:
        raise ConfigError(
            f"train.ld_alpha: {measured[0]} takes the reference's log-probs, and those of single tokens are not "
            f"stored; set reference.token_logps to true."
        )


def _check_ratios(methods: "list[Method]", config: RunConfig) -> None:
    """Token ratios take a reference, and what is stored of its tokens."""
    train = config.train
    without = [method.name for method in methods if not method.spec.needs_reference]
    if without and (train.clips_ratios or train.reference_steps is not None):
        name = "ratio_floor and ratio_ceiling" if train.clips_ratios else "reference_steps"
        raise ConfigError(f"train.{name}: {without[0]} takes no reference; take the setting away.")
    if train.clips_ratios and train.ld_alpha < 1.0:
        raise ConfigError("train.ratio_floor and train.ld_alpha each say what a token counts; take one of them away.")
    if train.clips_ratios and not config.reference.token_logps:
        raise ConfigError(
            "train.ratio_floor and ratio_ceiling clip log-ratios of single tokens, and the reference's are not stored; "
            "set reference.token_logps to true."
        )


def _taken(method: "Method") -> str:
    return "unpaired rows" if method.spec.data == "unpaired" else method.spec.data


def _check_base(config: RunConfig) -> None:
    """The policy before its first step is the reference, or it would have rewards that nothing taught it."""
    trained, scored = config.train.weights == "nf4", config.reference.quantization == "nf4"
    if trained and not scored:
        raise ConfigError(
            "train.weights: nf4 trains an adapter on a model of 4-bit weights, and the reference is that very model: "
            "beside the unquantised one there would be rewards before the first step. Set reference: {engine: hf, "
            "quantization: nf4}."
        )
    if scored and not trained:
        raise ConfigError(
            f"reference.quantization: nf4 scores a model of 4-bit weights, and train.weights is "
            f"{config.train.weights}: the policy would start from another model. Set train: {{adapter: lora, weights: "
            f"nf4, save: adapter}}, or take reference.quantization away."
        )
