"""Formats: each file turns a document into the text of one."""

from distillbench.reports.formats.html import html
from distillbench.reports.formats.latex import latex
from distillbench.reports.formats.markdown import markdown
from distillbench.reports.formats.short import short

__all__ = ["html", "latex", "markdown", "short"]
