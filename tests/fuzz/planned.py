"""What is said before training: plans of models with odd configs, and sweeps over odd keys and values."""

import json
import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from tests.fuzz.cases import Case, Outcome
from tests.fuzz.keyed import KEYS, NEAR
from tests.fuzz.operators import VALUES, chance, pick, text_of, wounded
from tests.fuzz.refusing import refused
from tests.fuzz.settings import ODD
from tests.tiny import save_tiny_model
from thumbline.pipeline.config import build_config, load_config, override
from thumbline.pipeline.line import check_planned
from thumbline.pipeline.planning.planned import Asked, as_json, plan
from thumbline.pipeline.planning.work import Stated
from thumbline.pipeline.sweep import parse_axis, plan_sweep

_TRAINED: Final = [key for key in KEYS if key.startswith("train.")]
_SIZES: Final = (0, 1, -1, 2, 3, 7, 64, 65, 1e9, 2**40, 1.5, "8", None, True, [], {}, [4], float("nan"), 1e-320)
_OTHERS: Final = (
    "model_type", "architectures", "num_experts", "layer_types", "sliding_window", "rope_scaling", "rope_parameters",
    "head_dim", "auto_map", "quantization_config", "dtype", "torch_dtype", "text_config", "num_local_experts",
    "attn_logit_softcapping", "final_logit_softcapping", "tie_word_embeddings", "max_position_embeddings",
)  # fmt: skip
_WORDS: Final = (
    "llama",
    "qwen3",
    "gemma2",
    "mixtral",
    "bert",
    "none",
    "",
    "float8",
    "auto",
    "../x",
    "LlamaForCausalLM",
)


_LONGEST: Final = 200
# Axes that hold, so that what is read of them is checked too.
_SOUND: Final = (
    "train.loss.beta=0.1,0.3", "train.loss.beta=0.1", "train.learning_rate=1e-5,4E-5", "train.method=dpo,ipo",
    "train.max_steps=3,null", "train.also=[],[{method: ipo, weight: 0.5}]", "train.device=cpu,'cuda:1'",
)  # fmt: skip


@cache
def _warm() -> None:
    """Import what torch imports for the first plan, which takes seconds that no input is to count."""
    with TemporaryDirectory() as place:
        save_tiny_model(Path(place))
        plan(build_config(_document(Path(place)), origin="fuzz"), Asked(stated=Stated(12, 20, 10)))


def _document(folder: Path) -> dict[str, Any]:
    return {"name": "run", "runs": str(folder / "runs"), "model": str(folder), "events": {"inputs": ["none.jsonl"]}}


class Plans:
    """Configs of models, settings and devices that may not go together."""

    def __init__(self) -> None:
        with TemporaryDirectory() as place:
            save_tiny_model(Path(place))
            self._config = json.loads((Path(place) / "config.json").read_text(encoding="utf-8"))
        _warm()

    def make(self, random: np.random.Generator) -> Case:
        """A config.json with other values, and what else is stated."""
        config = dict(self._config)
        for _ in range(int(random.integers(0, 3))):
            name = pick(random, [*config, *_OTHERS])
            config[name] = pick(random, [*_SIZES, *_SIZES, *_WORDS, *VALUES])
        data = text_of(config, random)
        if chance(random, 0.1):
            data = wounded(data, random)
        sets = [f"{pick(random, KEYS)}={pick(random, NEAR)}" for _ in range(2) if chance(random, 0.4)]
        asked = {
            "devices": pick(random, [1, 1, 2, 3, 64]),
            "memory": pick(random, [None, None, 1e9, 80e9, 1.0]),
            "flops": pick(random, [None, 1e12, 1e-3]),
            "device": pick(random, ["cpu", "cuda"]),
            "stated": [pick(random, [None, None, 1, 100, 5000, 2**31]) for _ in range(3)],
        }
        return Case({"config.json": data}, {"set": sets, "asked": asked})

    def read(self, case: Case, folder: Path) -> Outcome:
        """Plan as the command does."""
        told = refused(lambda: _plan(case.settings, folder))
        return "read" if told is None else "refused"

    def settle(self) -> None:
        """Nothing is left."""


def _plan(settings: dict[str, Any], folder: Path) -> None:
    document = _document(folder)
    for setting in settings["set"]:
        override(document, setting)
    config = build_config(document | {"model": str(folder)}, origin="fuzz")
    check_planned(config)
    asked = dict(settings["asked"])
    prompt, completion, rows = asked.pop("stated")
    # Longer ones take long, since each token is looked at.
    stated = Stated(*(min(length or _LONGEST, _LONGEST) for length in (prompt, completion)), rows)
    found = plan(config, Asked(**asked, stated=stated))
    assert found.memory.peak >= 0 and math.isfinite(found.memory.peak), f"a peak of {found.memory.peak}"
    json.loads(json.dumps(as_json(found), allow_nan=False))


class Sweeps:
    """Axes of a sweep."""

    def make(self, random: np.random.Generator) -> Case:
        """One to three axes over settings of training, or what may not vary."""
        values = [*NEAR, *ODD, "0.1,0.3", "0.1,0.1", "a,b", "1e-5,1E-5", ",", "dpo,kto", "3,null", "0.1,0.10"]
        axes = []
        for _ in range(int(random.integers(1, 4))):
            key = pick(random, [*_TRAINED, *_TRAINED, *KEYS, "train.loss.beta", "train.method", "", "train.", "a.b"])
            listed = ",".join(pick(random, values) for _ in range(int(random.integers(1, 3))))
            axes.append(f"{key}={listed}" if chance(random, 0.97) else key + listed)
        if chance(random, 0.3):
            axes = [pick(random, _SOUND), *axes[: int(chance(random, 0.5))]]
        metric = pick(random, ["auto", "auto", "accuracy", "auc", "loss", "win_rate", "frontier", "", "x"])
        seeds = pick(random, [None, None, [0, 1], [0, 0], [], [-1], [2**70]])
        return Case(
            {}, {"over": axes, "metric": metric, "seeds": seeds, "keep": pick(random, ["best", "best", "all", "x"])}
        )

    def read(self, case: Case, folder: Path) -> Outcome:
        """Plan the sweep: every trial has a folder of its own, and settings that a run file can hold."""
        stated = case.settings
        path = folder / "run.yaml"
        path.write_text("model: demo\nevents: {inputs: [log.jsonl]}\n")
        found = []

        def planned() -> None:
            axes = [parse_axis(text) for text in stated["over"]]
            found.append(
                plan_sweep(load_config(path), axes, seeds=stated["seeds"], metric=stated["metric"], keep=stated["keep"])
            )

        if refused(planned) is not None:
            return "refused"
        (sweep,) = found
        places = [trial.config.run_dir for trial in sweep.trials]
        assert len(set(places)) == len(places) > 0, "two trials share a folder"
        assert all(place.parent == sweep.output / "trials" and len(place.name) < 255 for place in places)
        return "read"

    def settle(self) -> None:
        """Nothing is left."""
