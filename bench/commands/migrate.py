"""The command `migrate`."""

import typer

from distillbench.bench.commands.arguments import RunFolder
from distillbench.bench.exits import exits


def migrate(directory: RunFolder) -> None:
    """Bring the records of a run folder that an earlier version wrote to this version's schema."""
    with exits():
        from distillbench.bench.driver.migrate import migrate_run

        count = migrate_run(directory)
        typer.echo(f"{count} files were migrated" if count else "every file is of this version")
