"""Groups of options: a command that takes dataclasses has an option a field, and gets the groups filled."""

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from thumbline.pipeline.cli.options import ScoringArguments, grouped


@dataclass(frozen=True)
class Words:
    word: Annotated[str, typer.Argument(help="A word.")]
    times: Annotated[int, typer.Option(min=1, help="How often.")] = 1


def run(*arguments):
    seen = []

    @grouped
    def command(
        *, words: Words, loud: Annotated[bool, typer.Option("--loud")] = False, scoring: ScoringArguments
    ) -> None:
        """Says a word."""
        seen.append((words, loud, scoring))

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments))
    return result, seen


def test_fields_are_options_and_come_back_in_their_groups():
    result, seen = run("hello", "--times", "2", "--loud", "--engine", "hf", "--max-tokens", "9")
    assert result.exit_code == 0, result.output
    assert seen == [(Words("hello", 2), True, ScoringArguments(engine="hf", max_tokens=9))]
    assert run("hello")[1] == [(Words("hello"), False, ScoringArguments())]


def test_what_a_field_says_about_itself_holds():
    assert "Missing argument" in run()[0].output
    assert "Invalid value for '--times'" in run("hello", "--times", "0")[0].output
    shown = run("--help")[0].output
    assert "Says a word." in shown and "How often." in shown
    assert shown.index("--times") < shown.index("--loud") < shown.index("--engine")


def test_scoring_arguments_are_sections_of_a_run_file():
    assert ScoringArguments(dtype="float32", template="plain").sections() == {
        "reference": {"engine": "auto", "dtype": "float32"},
        "sequences": {"template": "plain", "max_tokens": 1024},
    }
