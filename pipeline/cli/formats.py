"""`thumbline formats NAME`: what one format reads, its options, and a small log of it."""

from rich.padding import Padding
from rich.text import Text

from ..importers.describing import describe_format
from .terminal import out, plain


def print_format(name: str) -> None:
    """Show a format.

    Raises:
        ConfigError: There is none of that name.
    """
    found = describe_format(name)
    out.print(Text.assemble((plain(found.name), "bold"), f"  {plain(found.reads)}"))
    out.print("\nOptions, stated as events.options of a run file or by --set 'events.options={NAME: VALUE}':")
    for option, meaning in found.options.items():
        out.print(Text(f"  {plain(option)}", "bold"))
        out.print(Padding(Text(plain(meaning)), (0, 0, 0, 6), expand=False))
    for file, text in found.example.items():
        out.print(f"\nExample, {file}:")
        out.print(text.rstrip("\n"), markup=False, soft_wrap=True)
