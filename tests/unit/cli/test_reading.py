"""Options of the rows that are evaluated, as they are typed."""

import pytest

from thumbline.pipeline.cli.evaluate import Reading
from thumbline.pipeline.errors import ConfigError


def test_options_are_names_and_values() -> None:
    assert Reading(option=["prompt=question", "up=a=b"]).options() == {"prompt": "question", "up": "a=b"}
    assert Reading().options() == {}


@pytest.mark.parametrize("stated", ["prompt", "=question"])
def test_an_option_without_a_name_or_a_value_is_refused(stated: str) -> None:
    with pytest.raises(ConfigError, match="say NAME=VALUE, such as prompt=question"):
        Reading(option=[stated]).options()
