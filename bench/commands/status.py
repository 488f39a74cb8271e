"""The command `status`."""

import typer

from distillbench.bench.commands.arguments import RunFolder
from distillbench.bench.exits import exits


def status(directory: RunFolder) -> None:
    """Say how a run stands, while it runs too."""
    with exits():
        from distillbench.bench.driver.status import status_lines

        for line in status_lines(directory):
            typer.echo(line)
