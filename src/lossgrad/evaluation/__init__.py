"""Evaluation of saved predictions: totals that are exact and merge, and the figures they give."""

from .grouped import Grouped
from .problems import DtypeError, FileError, InputError, LabelError
from .reading import Reading
from .results import Average, Result, Task, WorstRow
from .state import Evaluation

__all__ = [
    "Average",
    "DtypeError",
    "Evaluation",
    "FileError",
    "Grouped",
    "InputError",
    "LabelError",
    "Reading",
    "Result",
    "Task",
    "WorstRow",
]
