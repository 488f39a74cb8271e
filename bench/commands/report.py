"""The command `report`."""

from pathlib import Path

from distillbench.bench.commands.arguments import RunFolder
from distillbench.bench.exits import exits

TABLE_WIDTH = 100


def report(
    directory: RunFolder,
) -> None:
    """Draw the report of a run folder again from its records."""
    with exits():
        show(directory)


def show(directory: Path) -> None:
    """Write a run's report, and print its summary and where it lies."""
    from rich.console import Console

    from distillbench.bench.records import load_run
    from distillbench.reports import summary_table, write_report

    finished = load_run(directory)
    path = write_report(finished)
    console = Console()
    if not console.is_terminal:
        console = Console(width=TABLE_WIDTH)  # a pipe or a log has no width of its own
    console.print(summary_table(finished))
    console.print(f"report: {path}", highlight=False, soft_wrap=True)
