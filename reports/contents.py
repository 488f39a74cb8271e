"""What a report holds, in order: verdicts, results, figures, one section per question, provenance.

A section without data is left out, but for failures, where their absence is said.
"""

from collections.abc import Iterator

import pandas as pd

from distillbench.bench.records import Run
from distillbench.reports import background, guide, tables
from distillbench.reports.document import (
    Block,
    Document,
    Image,
    Paragraph,
    Points,
    Section,
)
from distillbench.reports.groups import PLAIN, name_in_suite
from distillbench.reports.judgement import front
from distillbench.reports.measures import NOTES
from distillbench.reports.pictures import Picture
from distillbench.reports.sentences import sentences
from distillbench.reports.summary import control_of
from distillbench.reports.verdicts import margin_of


def contents(run: Run, summary: pd.DataFrame, drawn: list[Picture]) -> Document:
    """Return the report of a run as data.

    Args:
        run: The run.
        summary: What `summarize` returns of it.
        drawn: The pictures that it shows.
    """
    sections = [
        *_results(run, summary),
        *_figures(run, summary, drawn),
        *_quality(summary),
        *_cost(run, summary),
        *_training(run, summary),
        *_background(run),
    ]
    title = f"Distillation report: {run.manifest.name}"
    return Document(title, tuple(sentences(run, summary)), tuple(sections))


def _results(run: Run, summary: pd.DataFrame) -> Iterator[Section]:
    measure = tables.headline_of(summary)
    plain = name_in_suite(run, PLAIN)
    yield Section("Results", (tables.results_table(summary, plain),))
    points = guide.reading(measure, control_of(summary), margin_of(run, measure))
    yield Section("How to read this", (Points(points),), 3)


def _figures(run: Run, summary: pd.DataFrame, drawn: list[Picture]) -> Iterator[Section]:
    told = front(run, summary)
    texts = [guide.FIGURES, *([told] if told else [])]
    yield Section("Figures", tuple(map(Paragraph, texts)))
    for picture in drawn:
        yield Section(picture.title, (_shown(picture),), 3)


def _shown(picture: Picture) -> Block:
    if picture.data is None:
        return Paragraph(f"Not drawn: {picture.text}.")
    return Image(picture.file, picture.data, picture.text)


def _quality(summary: pd.DataFrame) -> Iterator[Section]:
    table = tables.generalisation_table(summary)
    yield Section("Quality and generalisation", (table, Points(guide.GENERALISATION)))
    relative = tables.relative_table(summary)
    if relative:
        yield Section("Relative to the teacher", (relative, Paragraph(guide.RELATIVE)))
    for family, found in tables.family_tables(summary).items():
        note = [Paragraph(NOTES[family])] if family in NOTES else []
        yield Section(f"{family} on the test split", (found, *note))


def _cost(run: Run, summary: pd.DataFrame) -> Iterator[Section]:
    blocks: list[Block] = [tables.cost_table(summary)]
    doubts = tuple(("", line) for line in background.uncounted(run))
    if doubts:
        text = "MACs marked with ≈ are in doubt; what could not be counted, or does not agree:"
        blocks += [Paragraph(text), Points(doubts)]
    yield Section("Cost of what ships", tuple(blocks))
    yield Section("Latency", (tables.latency_table(run, summary),), 3)
    yield Section("How to read the cost", (Points(guide.COSTS),), 3)


def _training(run: Run, summary: pd.DataFrame) -> Iterator[Section]:
    table = tables.training_table(run, summary)
    yield Section("Cost of training", (table, Paragraph(guide.TRAINING)))


def _background(run: Run) -> Iterator[Section]:
    blocks: list[Block] = [background.methods_table(run), background.recipe_table(run)]
    changes = tuple(("", line) for line in background.recipe_changes(run))
    if changes:
        blocks += [Paragraph("Models that depart from the recipe:"), Points(changes)]
    yield Section("Methods and recipe", tuple(blocks))
    failures = background.failures_table(run)
    yield Section("Failures", (failures or Paragraph("Every planned cell finished."),))
    provenance = (background.commands(run), background.provenance_table(run))
    command = Paragraph("This command made the run, and makes it again:")
    yield Section("Provenance", (command, *provenance, background.suite_block(run)))
