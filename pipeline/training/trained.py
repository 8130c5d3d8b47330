"""What a run trained, as an engine takes it."""

from pathlib import Path
from typing import NamedTuple

from ..config import EngineConfig, RunConfig
from ..engines.models import resolve_model


class TrainedModel(NamedTuple):
    """What is scored.

    Attributes:
        folder: Folder of a whole model: the trained one, or the base of a trained adapter.
        engine: The reference's engine, with the trained adapter where there is one.
    """

    folder: Path
    engine: EngineConfig


def trained_model(config: RunConfig) -> TrainedModel:
    """The model that was trained, as an engine takes it."""
    folder = config.run_dir / "train" / "model"
    if config.train.save == "adapter":
        base = resolve_model(config.model, config.revision)
        return TrainedModel(base, config.reference.model_copy(update={"adapter": str(folder)}))
    # The trained model was saved with everything in its own weights.
    return TrainedModel(folder, config.reference.model_copy(update={"adapter": None}))
