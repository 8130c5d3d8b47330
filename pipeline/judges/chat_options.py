"""Settings of a chat model that judges: who is asked, what, how patiently, and at what price."""

import os
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from ..config.base import NaturalCount, Positive, StageConfig
from ..errors import ConfigError
from .chat_prompts import CRITERION, NEEDED, TEMPLATE

# What decides how it is asked, and not what it says.
MANNER: Final = frozenset({"key_from", "concurrency", "timeout_s", "tries", "price_in", "price_out", "most_cost"})


class ChatOptions(StageConfig):
    """Who is asked, what, and at what price."""

    address: str = Field(description="What comes before /chat/completions, such as http://127.0.0.1:8000/v1.")
    model: str = Field(min_length=1, description="The model's name there.")
    key_from: str | None = Field(
        None,
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="Name of the environment's variable that holds the key, in capitals; unset: no key is sent.",
    )
    criterion: str = Field(CRITERION, description="What makes an answer the better one, in a sentence.")
    template: str = Field(TEMPLATE, description="The whole question, with {prompt}, {first} and {second} in it.")
    max_tokens: NaturalCount = Field(512, description="Most tokens of a reply.")
    temperature: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="0: the likeliest reply.")
    seed: int = Field(0, description="Sent along; servers may ignore it.")
    body: dict[str, Any] = Field({}, description="Fields of the request over ours; null leaves one out.")
    concurrency: NaturalCount = Field(8, description="Requests under way at a time.")
    timeout_s: Positive = Field(120.0, allow_inf_nan=False, description="Seconds that a try may take.")
    tries: NaturalCount = Field(5, description="How often a request is sent where the server is busy or failing.")
    price_in: float | None = Field(None, ge=0.0, description="Price of a million tokens read.")
    price_out: float | None = Field(None, ge=0.0, description="Price of a million tokens written.")
    most_cost: float | None = Field(
        None, ge=0.0, description="Ask no more once this is spent, in the prices' currency."
    )

    @field_validator("address")
    @classmethod
    def _take_an_address(cls, address: str) -> str:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write it as http://HOST:PORT/v1 or https://HOST/v1")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("it holds more than scheme, host and path; a key goes into a variable that key_from names")
        return address.rstrip("/")

    @field_validator("template")
    @classmethod
    def _show_both(cls, template: str) -> str:
        lacking = [f"{{{place}}}" for place in NEEDED if f"{{{place}}}" not in template]
        if lacking:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        return template

    @model_validator(mode="after")
    def _price_what_is_bounded(self) -> Self:
        if self.most_cost is not None and (self.price_in is None or self.price_out is None):
            raise ValueError("most_cost needs price_in and price_out")
        return self


def key_of(options: ChatOptions) -> str | None:
    """The key, which stands in the environment and nowhere else; None where none is named.

    Raises:
        ConfigError: The variable that is named is not set.
    """
    if options.key_from is None:
        return None
    key = os.environ.get(options.key_from, "").strip()
    if not key:
        raise ConfigError(f"judges: key_from names {options.key_from}, which is not set in the environment.")
    return key


def check_key(options: ChatOptions) -> None:
    """Raise where the key is not there: as `key_of`."""
    key_of(options)
