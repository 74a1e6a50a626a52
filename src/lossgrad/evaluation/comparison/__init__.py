"""Two models on the same rows: divergences of what they predict, and which of them is right."""

from . import figures as _figures  # noqa: F401 (it makes the texts known)
from .results import ComparisonResult, Estimate, Pair
from .state import Comparison

__all__ = ["Comparison", "ComparisonResult", "Estimate", "Pair"]
