"""The files of every format whose votes and texts are joined, by format: what detection must tell apart."""

from typing import Final

from tests.unit.importers import (
    test_chainlit,
    test_chatgpt,
    test_dify,
    test_helicone,
    test_langfuse,
    test_langsmith,
    test_mlflow,
    test_opik,
    test_otel,
    test_phoenix,
    test_posthog,
    test_weave,
)
from tests.unit.importers.joined_logs import Row

FILES: Final[dict[str, dict[str, list[Row]]]] = {
    "langfuse": test_langfuse.FILES,
    "langsmith": test_langsmith.FILES,
    "chatgpt": test_chatgpt.FILES,
    "chainlit": test_chainlit.FILES,
    "dify": test_dify.ALL_FILES,
    "phoenix": test_phoenix.FILES,
    "otel": test_otel.FILES,
    "weave": test_weave.FILES,
    "helicone": test_helicone.FILES,
    "posthog": test_posthog.FILES,
    "mlflow": test_mlflow.FILES,
    "opik": test_opik.FILES,
}
