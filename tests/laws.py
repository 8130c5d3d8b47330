"""How many examples a law is tried on: a number that the profile of hypothesis scales."""

from typing import Final

from hypothesis import settings

_ALL: Final = 100


def scaled(count: int) -> int:
    """The profile's share of `count`: a half, a fifth under `--hypothesis-profile fast`, all under `thorough`."""
    return max(1, count * settings().max_examples // _ALL)


def examples(count: int) -> settings:
    """A law's own number of examples, instead of the hundred that are usual."""
    return settings(max_examples=scaled(count))
