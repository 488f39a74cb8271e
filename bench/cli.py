"""The command line: what each command is called. Each imports what is heavy when it runs."""

import signal

import typer

from distillbench.bench.commands.check import check
from distillbench.bench.commands.compare import compare
from distillbench.bench.commands.evaluate import evaluate
from distillbench.bench.commands.explain import explain
from distillbench.bench.commands.export import export
from distillbench.bench.commands.list import list_names
from distillbench.bench.commands.migrate import migrate
from distillbench.bench.commands.power import power
from distillbench.bench.commands.profile import profile
from distillbench.bench.commands.report import report
from distillbench.bench.commands.run import run
from distillbench.bench.commands.schema import schema
from distillbench.bench.commands.status import status

app = typer.Typer(
    name="distillbench",
    help="Decide which distilled model to ship: students, their quality and their cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS = (
    *(run, status, explain, report, compare, power, export),
    *(evaluate, profile, check, schema, migrate),
)
for command in COMMANDS:
    app.command()(command)
app.command(name="list")(list_names)


def main() -> None:
    """Run the command line; being asked to end is met like Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
