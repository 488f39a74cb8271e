"""The harness: suites, tasks, cells, records, statistics and the command line."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distillbench.bench.records.tidy import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import `load` when it is asked for: pandas takes longer to load than `--help` may."""
    if name == "load":
        from distillbench.bench.records.tidy import load

        return load
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}; expected one of {__all__}"
    )
