"""Tidy rows as JSON lines: one per cell, split, head and metric.

`pandas.read_json(FILE, lines=True)` reads them. A cell that did not finish has one row with its
status and no value.
"""

import json

import pandas as pd

from distillbench.bench.records import Run
from distillbench.bench.records.tidy import tidy


def rows(run: Run) -> dict[str, str]:
    """Return the tidy frame of a run, in the records' own units."""
    found = tidy(run).to_dict("records")
    lines = [json.dumps({str(name): _plain(value) for name, value in row.items()}) for row in found]
    return {"rows.jsonl": "".join(f"{line}\n" for line in lines)}


def _plain(value: object) -> object:
    """Return a value as JSON holds it: a missing one is null."""
    return value if isinstance(value, str) or not pd.isna(value) else None  # type: ignore[call-overload]
