"""lossgrad: fast, accurate activations and losses for NumPy arrays, forward and backward.

The compiled kernels are used where they are built; LOSSGRAD_BACKEND=numpy selects the pure-NumPy
reference, which has the same functions.
"""

from pathlib import Path

# Before all that needs it: its warning names who imports this package.
from ._core import backend as _backend  # noqa: F401

# isort: split
from . import (
    activations,
    distributions,
    focal_losses,
    linear,
    losses,
    norms,
    regression,
    row_losses,
    softmax_family,
)
from ._core import config as _config
from ._functions import *  # noqa: F403
from ._kernels.threads import get_num_threads, set_num_threads
from .evaluation import (
    Comparison,
    ComparisonResult,
    DtypeError,
    Evaluation,
    FileError,
    InputError,
    LabelError,
    Result,
)
from .evaluation.comparison.compare import compare
from .evaluation.evaluate import evaluate
from .evaluation.passes.conformal import conformal_sets, conformal_threshold
from .evaluation.passes.ood import out_of_distribution
from .evaluation.passes.temperature import fit_temperature
from .linear import *  # noqa: F403

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "ComparisonResult",
    "DtypeError",
    "Evaluation",
    "FileError",
    "InputError",
    "LabelError",
    "Result",
    "__version__",
    "compare",
    "conformal_sets",
    "conformal_threshold",
    "evaluate",
    "fit_temperature",
    "get_include",
    "get_num_threads",
    "out_of_distribution",
    "set_num_threads",
    "show_config",
    *activations.__all__,
    *distributions.__all__,
    *focal_losses.__all__,
    *linear.__all__,
    *losses.__all__,
    *norms.__all__,
    *regression.__all__,
    *row_losses.__all__,
    *softmax_family.__all__,
]


def get_include() -> str:
    """
    Return the folder of the C header ``lossgrad.h``, for a compiler's ``-I``.

    Returns
    -------
    str
        The folder's path. What the header declares is there at run time unless lossgrad was
        installed without its compiled kernels.

    Examples
    --------
    >>> import os, lossgrad
    >>> os.listdir(lossgrad.get_include())
    ['lossgrad.h']
    """
    return str(Path(__file__).with_name("include"))


def show_config() -> None:
    """Print versions, machine, backend, instruction-set level, threads: what a bug report needs.

    Examples
    --------
    >>> import lossgrad
    >>> lossgrad.show_config()  # doctest: +ELLIPSIS
    lossgrad  ...
    """
    for name, value in _config.configuration(__version__).items():
        print(f"{name:9s} {value}")
