"""The pure-NumPy twin: the same functions, semantics and errors as the compiled ones.

It is the fallback where there is no compiled extension, and the oracle of the tests, so accuracy
comes before speed. Everything is computed in float64 and rounded once; what float64 alone would
lose (differences of logits, sums, small quotients) is carried in a second term.
"""

from . import activations as _activations
from . import distributions as _distributions
from . import focal_losses as _focal_losses
from . import losses as _losses
from . import norms as _norms
from . import regression as _regression
from . import row_losses as _row_losses
from . import softmax_family as _softmax_family
from .activations import *  # noqa: F403
from .distributions import *  # noqa: F403
from .focal_losses import *  # noqa: F403
from .losses import *  # noqa: F403
from .norms import *  # noqa: F403
from .regression import *  # noqa: F403
from .row_losses import *  # noqa: F403
from .softmax_family import *  # noqa: F403

__all__ = sorted(
    name
    for module in (
        _activations,
        _distributions,
        _focal_losses,
        _losses,
        _norms,
        _regression,
        _row_losses,
        _softmax_family,
    )
    for name in module.__all__
)
