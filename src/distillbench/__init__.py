"""distillbench: decide which distilled model to ship.

The package has four rooms: `distill` makes students, `metrics` measures them, `bench` runs the
comparison and `reports` draws it.
"""

from importlib.metadata import version

__version__ = version("distillbench")
__all__ = ["__version__"]
