"""The command line: what each command is called. Each imports what is heavy when it runs."""

import typer

from distillbench.bench.commands.check import check
from distillbench.bench.commands.compare import compare
from distillbench.bench.commands.evaluate import evaluate
from distillbench.bench.commands.export import export
from distillbench.bench.commands.list import list_names
from distillbench.bench.commands.power import power
from distillbench.bench.commands.profile import profile
from distillbench.bench.commands.report import report
from distillbench.bench.commands.run import run

app = typer.Typer(
    name="distillbench",
    help="Decide which distilled model to ship: students, their quality and their cost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (run, report, compare, power, export, evaluate, profile, check):
    app.command()(command)
app.command(name="list")(list_names)


def main() -> None:
    """Run the command line."""
    app()
