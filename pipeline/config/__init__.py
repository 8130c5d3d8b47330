"""What a run can be told: one frozen pydantic model a stage, checked before any work starts."""

from .asking import GenerationsConfig, JudgeConfig, ThumbsConfig
from .base import StageConfig
from .data import EventsConfig, PairsConfig, ResponsesConfig, SplitsConfig, UnpairedConfig
from .documents import read_document, read_value
from .evaluation import MetricsConfig, ReportConfig, SliceName
from .loading import build_config, load_config, override, put
from .places import placed
from .run import RunConfig
from .scaling import ScaleConfig
from .scoring import EngineConfig, ReferenceConfig, SequencesConfig
from .training import LoraSettings, LossTerm, TrainConfig

__all__ = [
    "EngineConfig",
    "EventsConfig",
    "GenerationsConfig",
    "JudgeConfig",
    "LoraSettings",
    "LossTerm",
    "MetricsConfig",
    "PairsConfig",
    "ReferenceConfig",
    "ReportConfig",
    "ResponsesConfig",
    "RunConfig",
    "ScaleConfig",
    "SequencesConfig",
    "SliceName",
    "SplitsConfig",
    "StageConfig",
    "ThumbsConfig",
    "TrainConfig",
    "UnpairedConfig",
    "build_config",
    "load_config",
    "override",
    "placed",
    "put",
    "read_document",
    "read_value",
]
