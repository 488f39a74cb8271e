"""Tables of a report: each function takes the summary and returns a table in no format yet."""

from distillbench.reports.tables.cells import count_of, headline_of, macs_of, names
from distillbench.reports.tables.cost import cost_table, latency_table, training_table
from distillbench.reports.tables.evidence import evidence_table
from distillbench.reports.tables.families import family_tables
from distillbench.reports.tables.modalities import modalities_table
from distillbench.reports.tables.quality import (
    generalisation_table,
    relative_table,
    results_table,
)
from distillbench.reports.tables.ranks import ranks_table
from distillbench.reports.tables.sampling import sampling_table

__all__ = [
    "cost_table",
    "count_of",
    "evidence_table",
    "family_tables",
    "generalisation_table",
    "headline_of",
    "latency_table",
    "macs_of",
    "modalities_table",
    "names",
    "ranks_table",
    "relative_table",
    "results_table",
    "sampling_table",
    "training_table",
]
