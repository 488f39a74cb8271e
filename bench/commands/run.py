"""The command `run`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from distillbench.bench.commands.arguments import DataRoot, Device, SuiteArgument
from distillbench.bench.commands.report import show
from distillbench.bench.errors import Exit
from distillbench.bench.exits import exits


def run(
    suite: SuiteArgument = "digits",
    out: Annotated[
        Path | None, typer.Option(help="The run folder; runs/SUITE where not given.")
    ] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
) -> None:
    """Train, distil, measure and report a suite; what is finished in the run folder is kept."""
    with exits():
        from distillbench.bench.suite import load_suite

        loaded = load_suite(suite)
        directory = out or Path("runs") / loaded.name
        complete = _run(loaded, directory, data_root, device)
    raise typer.Exit(Exit.DONE if complete else Exit.CELLS_FAILED)


def _run(suite: object, directory: Path, data_root: Path | None, device: str) -> bool:
    """Run a loaded suite with a live view, and show its summary."""
    from rich.console import Console

    from distillbench.bench.preflight import prepare
    from distillbench.bench.progress import Display
    from distillbench.bench.runner import run_plan
    from distillbench.bench.suite import Suite

    assert isinstance(suite, Suite)
    console = Console()
    with console.status("loading data and models"):
        plan = prepare(suite, data_root, device)
    with Display(console) as display:
        outcome = run_plan(plan, directory, shlex.join(["distillbench", *sys.argv[1:]]), display)
    show(directory)
    if outcome.unmeasured is not None:
        typer.echo(f"distillbench: nothing was measured: {outcome.unmeasured}", err=True)
    return outcome.complete
