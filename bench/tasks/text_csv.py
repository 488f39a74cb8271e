"""Texts and their classes from CSV files, and of these the sections of Debian's archive."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distillbench.bench.tasks.tables import class_numbers, logs, read_table
from distillbench.bench.tasks.task import Task, set_aside, tensor_task
from distillbench.bench.tasks.words import tokenised

TEXT_AND_NUMBERS = {"text": ("sequence", "lengths"), "numbers": ("numbers",)}
"""The modalities of a table with both."""


def text_csv(
    *,
    data_root: Path | None = None,
    path: str = ".",
    train: str = "train.csv",
    test: str | float = "test.csv",
    text: str = "text",
    label: str = "label",
    numbers: Sequence[str] = (),
    validation: float = 0.1,
    vocabulary: int = 8000,
    length: int = 32,
) -> Task:
    """Return a classification task of the texts in CSV files with a header.

    Models see token numbers, `sequence`, (N, length), with `lengths`, (N,), and `numbers`, (N, D),
    where columns of numbers are named.

    Args:
        data_root: The folder that the path starts from; the current one where it is None.
        path: The folder with the files.
        train: The file of the training and validation rows.
        test: The file of the test rows, or the share of the first file's rows that is the test.
        text: The column of the texts.
        label: The column of their classes.
        numbers: Columns of amounts, which are seen as log(1 + amount) with mean 0 and deviation 1.
        validation: The share of the training rows set aside for validation.
        vocabulary: The most tokens that the encoding may have.
        length: Tokens of a text that are kept, from its beginning.

    Raises:
        ConfigError: A file or a column is missing, or the test rows have a class of their own.
    """
    folder = (data_root or Path()) / path
    columns = (text, label, *numbers)
    table = read_table(folder / train, columns)
    if isinstance(test, str):
        where, further = folder / test, read_table(folder / test, columns)
    else:
        where = folder / train
        kept, taken = set_aside(len(table), test, "test")
        table, further = table.iloc[kept.tolist()], table.iloc[taken.tolist()]
    known, tested, _ = class_numbers(list(table[label]), list(further[label]), label, where)
    rows = TextRows(list(table[text]), list(further[text]), validation, vocabulary, length)
    facts: dict[str, Any] = {"vocabulary": vocabulary}
    if numbers:
        rows.add(
            "numbers",
            logs(table, numbers, folder / train),
            logs(further, numbers, where),
        )
        facts["input_shape"] = (len(numbers),)
    return tensor_task(
        folder.resolve().name,
        (rows.train, known[rows.kept]),
        (rows.test, tested),
        validation=(rows.validation, known[rows.aside]),
        classes=int(known.max()) + 1,
        facts=facts,
        modalities=TEXT_AND_NUMBERS if numbers else {},
    )


def debian_sections(
    *,
    data_root: Path | None = None,
    path: str = "debian-sections",
    numbers: Sequence[str] = (),
    validation: float = 0.1,
    vocabulary: int = 20_000,
    length: int = 20,
) -> Task:
    """Return one-line descriptions of Debian packages, and the 50 archive sections they are in.

    The sections' sizes are a long tail, from 4,945 training rows to 14.

    Args:
        data_root: The folder that the path starts from; the current one where it is None.
        path: The folder with `train.csv` and `test.csv`.
        numbers: Columns of amounts that models see too: `installed_size_kib`, `n_depends`.
        validation: The share of the training rows set aside for validation.
        vocabulary: The most tokens that the encoding may have.
        length: Tokens of a text that are kept, from its beginning.

    Raises:
        ConfigError: A file or a column is missing, or the test rows have a class of their own.
    """
    return text_csv(
        data_root=data_root,
        path=path,
        label="section",
        numbers=numbers,
        validation=validation,
        vocabulary=vocabulary,
        length=length,
    )


class TextRows:
    """Texts as token numbers, in three splits.

    Attributes:
        kept: Which of the given training texts train, (K,); the encoding is trained on these.
        aside: Which of them are for validation, (V,).
        train: The inputs of a model: `sequence` and `lengths`.
        validation: Likewise.
        test: Likewise.
    """

    def __init__(
        self, train: list[str], test: list[str], share: float, vocabulary: int, length: int
    ) -> None:
        self.kept, self.aside = set_aside(len(train), share)
        first, second = ([train[row] for row in rows.tolist()] for rows in (self.kept, self.aside))
        whole = tokenised(first, [*second, *test], vocabulary, length)
        sizes = [len(first), len(second), len(test)]
        self.train, self.validation, self.test = (_part(whole, rows) for rows in _ranges(sizes))

    def add(self, name: str, train: Tensor, test: Tensor) -> None:
        """Add an input, (N, D), with mean 0 and deviation 1 over the rows that train."""
        known = train[self.kept]
        mean, deviation = known.mean(dim=0), known.std(dim=0).clamp_min(1e-6)
        splits = (self.train, self.validation, self.test)
        for split, values in zip(splits, (known, train[self.aside], test), strict=True):
            split[name] = (values - mean) / deviation


def _ranges(sizes: list[int]) -> list[slice]:
    ends = torch.tensor(sizes).cumsum(0).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _part(whole: dict[str, Tensor], rows: slice) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in whole.items()}
