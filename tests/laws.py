"""How many examples a law is tried on: a number that the profile of hypothesis scales."""

from typing import Final

from hypothesis import settings

_ORDINARY: Final = 100


def scaled(count: int) -> int:
    """`count` as it is, or the profile's share of it: a fifth under `--hypothesis-profile fast`."""
    return max(1, count * settings().max_examples // _ORDINARY)


def examples(count: int) -> settings:
    """A law's own number of examples, instead of the hundred that are usual."""
    return settings(max_examples=scaled(count))
