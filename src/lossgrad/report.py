"""A result as one HTML file that needs nothing else: see `lossgrad.evaluation.report`."""

from lossgrad.evaluation.report import html, write

__all__ = ["html", "write"]
