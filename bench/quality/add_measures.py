"""Measures added to a finished run, from the predictions that it kept: no model runs."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from distillbench.bench.quality.evaluate import Quality, applicable, rate, tabulate
from distillbench.bench.quality.measures import Form, chosen
from distillbench.bench.quality.predictions import KEPT, load_predictions
from distillbench.bench.records import Cell, Evaluation, Run, Tables, load_run, write_json
from distillbench.distill.method import Head

Kept = TypeVar("Kept")


def add_measures(directory: Path, metrics: Iterable[str]) -> int:
    """Compute what is missing of some measures for every finished cell, and write it to the run.

    Args:
        directory: The run folder.
        metrics: Names of measures or groups.

    Returns:
        For how many cells something was added.

    Raises:
        ConfigError: A name is unknown, or predictions are missing or damaged.
    """
    run = load_run(directory)
    names = chosen(metrics)
    heads = [
        Head(head.name, head.kind, head.classes, counts=head.counts) for head in run.manifest.heads
    ]
    open_cells = {
        cell.id: wanted
        for cell in run.manifest.cells
        if cell.id in run.records
        and run.records[cell.id].status == "done"
        and (wanted := _missing(run, cell, names, heads))
    }
    if not open_cells:
        return 0
    targets = directory / run.manifest.targets
    lead = next(cell for cell in run.manifest.cells if cell.kind == "teacher")
    teacher = load_predictions(directory / lead.predictions_file, targets)
    for cell in run.manifest.cells:
        if cell.id in open_cells:
            wanted = open_cells[cell.id]
            own = load_predictions(directory / cell.predictions_file, targets)
            found = rate(own, None if cell == lead else teacher, heads, wanted)
            tables = tabulate(own, heads, wanted)
            write_json(directory / cell.evaluation_file, merged(run, cell, found, tables))
    return len(open_cells)


def _missing(run: Run, cell: Cell, names: list[str], heads: list[Head]) -> list[str]:
    """Return the numbers and tables that some head of a cell lacks on some kept split."""
    later = run.evaluations.get(cell.id)
    known: dict[Form, Mapping[str, Mapping[str, Mapping[str, object]]]]
    known = {"number": run.quality(cell), "table": later.tables if later else {}}
    lacking = {
        name
        for form, kept in known.items()
        for head in heads
        for name in applicable(names, head, alone=cell.kind == "teacher", form=form)
        if any(name not in kept.get(split, {}).get(head.name, {}) for split in KEPT)
    }
    return [name for name in names if name in lacking]


def merged(run: Run, cell: Cell, found: Quality, tables: Tables | None = None) -> Evaluation:
    """Return what was measured of a finished cell later, with what is new."""
    earlier, weights = run.evaluations.get(cell.id), run.records[cell.id].weights
    assert weights is not None
    return Evaluation(
        key=cell.key,
        weights=weights.digest,
        quality=_joined(earlier.quality if earlier else {}, found.values),
        undefined={**(earlier.undefined if earlier else {}), **found.undefined},
        tables=_joined(earlier.tables if earlier else {}, tables or {}),
    )


def _joined(
    earlier: Mapping[str, Mapping[str, Mapping[str, Kept]]],
    found: Mapping[str, Mapping[str, Mapping[str, Kept]]],
) -> dict[str, dict[str, dict[str, Kept]]]:
    """Return both, by split, head and name."""
    joined: dict[str, dict[str, dict[str, Kept]]] = {}
    for source in (earlier, found):
        for split, heads in source.items():
            for head, values in heads.items():
                joined.setdefault(split, {}).setdefault(head, {}).update(values)
    return joined
