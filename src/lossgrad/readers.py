"""Opening .npy and .npz files, without loading them: see `lossgrad.evaluation.formats`."""

from lossgrad.evaluation.formats.npy import open_npy
from lossgrad.evaluation.formats.npz import open_npz
from lossgrad.evaluation.problems import FileError

__all__ = ["FileError", "open_npy", "open_npz"]
