"""Throughput against batch size: whether a student that is quick alone is also quick in bulk."""

import textwrap

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from distillbench.reports import numbers
from distillbench.reports.figures import style


def throughput_by_batch(
    samples: pd.DataFrame, teacher: str | None, conditions: str
) -> tuple[Figure, str]:
    """Draw samples per second, batch size over median latency, one line per model.

    Args:
        samples: Rows of `latency_samples` of one device and number of threads.
        teacher: The teacher's name, drawn in black; None where there is none.
        conditions: What was measured with and on, in words.

    Returns:
        The figure and its text alternative.

    Raises:
        NothingToDrawError: Fewer than two batch sizes were timed.
    """
    if samples["batch_size"].nunique() < 2:
        raise style.NothingToDrawError("fewer than two batch sizes were timed")
    rates = {str(model): _rates(part) for model, part in samples.groupby("model", sort=False)}
    rates, more = style.fewer(rates, teacher)
    looks = style.looks([name for name in rates if name != teacher])
    if teacher in rates:
        looks = {str(teacher): style.TEACHER_LOOK, **looks}
    with style.styled():
        figure = style.new_figure(3.6)
        axes = figure.add_subplot(xscale="log", yscale="log")
        for name, look in looks.items():
            xs, ys = zip(*rates[name], strict=True)
            axes.plot(xs, ys, marker=look.marker, ls=look.line, color=look.colour, ms=6, lw=1.4)
        sizes = sorted({batch for points in rates.values() for batch, _ in points})
        axes.xaxis.set_major_locator(FixedLocator([float(size) for size in sizes]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_locator(NullLocator())
        ends = [rate for points in rates.values() for _, rate in points]
        wide = max(ends) > 300 * min(ends)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: style.tick(value)))
        axes.set_ylabel("samples per second")
        axes.set_xlabel("\n".join(["batch size", *textwrap.wrap(conditions, 78), *more]))
        figure.legend(handles=style.handles(looks), loc="outside right upper")
    return figure, _alt(rates, conditions)


def _rates(part: pd.DataFrame) -> list[tuple[int, float]]:
    """Return batch sizes in order, each with the samples per second at its median latency."""
    medians = part.groupby("batch_size")["sample_ms"].median()
    pairs = zip(medians.index.tolist(), medians.tolist(), strict=True)
    return [(int(batch), 1000 * batch / ms) for batch, ms in pairs if ms > 0]


def _alt(rates: dict[str, list[tuple[int, float]]], conditions: str) -> str:
    told = [
        f"{name} {', '.join(f'{numbers.short(rate)} at batch {batch}' for batch, rate in points)}"
        for name, points in rates.items()
    ]
    return f"Samples per second against batch size, {conditions}: {style.listed(told)}."
