"""Settings of sampled answers: what makes no sense is refused before any work."""

import pytest
from pydantic import ValidationError

from thumbline.pipeline.config import GenerationsConfig


def test_answers_that_could_not_differ_are_refused():
    assert GenerationsConfig(samples=1, temperature=0).is_on
    with pytest.raises(ValidationError, match=r"temperature: 0 writes the same answer each time; set samples: 1"):
        GenerationsConfig(samples=2, temperature=0)


def test_a_further_model_cannot_take_the_runs_own_names():
    with pytest.raises(ValidationError, match=r"models: trained is the run's own; give yours another name"):
        GenerationsConfig(models={"trained": "demo"})
