"""Evaluation of saved predictions: totals that are exact and merge, and the figures they give."""

from .comparison import Comparison, ComparisonResult, Estimate, Pair
from .grouped import Grouped
from .problems import DtypeError, FileError, InputError, LabelError
from .reading import Reading
from .results import Average, Result, Task, WorstRow
from .state import Evaluation

__all__ = [
    "Average",
    "Comparison",
    "ComparisonResult",
    "DtypeError",
    "Estimate",
    "Evaluation",
    "FileError",
    "Grouped",
    "InputError",
    "LabelError",
    "Pair",
    "Reading",
    "Result",
    "Task",
    "WorstRow",
]
