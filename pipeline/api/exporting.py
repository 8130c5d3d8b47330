"""A run's rows in the format of somebody else's trainer, from Python."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .arguments import check_paths, check_texts, require_texts
from .runs import Run, load

if TYPE_CHECKING:
    # Imported where it is used: `import thumbline` should not wait for what is not called.
    from ..dataset.export import Export


def export(
    run: Run | str | Path,
    target: str = "trl",
    *,
    output: str | Path | None = None,
    test: bool = False,
    push_to_hub: str | None = None,
    private: bool = True,
) -> "Export":
    """Write a run's pairs and unpaired rows in the files that a service or a trainer takes.

        written = thumbline.export("runs/quickstart", "openai")
        written.folder, written.rows, written.rejected, written.notes

    Args:
        run: A run that has reached its splits, what `prepare` gave, or the folder of either.
        target: trl, openai, together, fireworks, vertex, nova, sagemaker, nemo-rl, llama-factory, axolotl or ms-swift.
        output: Where to; None for `export/TARGET` in the run's folder, which must not be a temporary one then.
        test: Write the test split too.
        push_to_hub: A data set of the hub that it goes to; of `trl` alone.
        private: Whether that is private where it is made now.

    Raises:
        ConfigError: There is no such target, no such run, or no place that stays.
        InputError: The run has not reached its splits, the target takes none of its rows, or the hub refuses.
    """
    from ..dataset.export import Push, export_run

    require_texts(target=target)
    check_texts(push_to_hub=push_to_hub)
    check_paths(output=output)
    if isinstance(run, Run) and run.tables.kept is not None and output is None and push_to_hub is None:
        raise ConfigError("export: the run's folder is a temporary one that goes with it; give output.")
    config = run.settings if isinstance(run, Run) else load(run).settings
    push = None if push_to_hub is None else Push(push_to_hub, private)
    return export_run(config, target, output=None if output is None else Path(output), test=test, push=push)
