"""The pure-NumPy twin: the same functions, semantics and errors as the compiled ones.

It is the fallback where there is no compiled extension, and the oracle of the tests, so accuracy
comes before speed. Everything is computed in float64 and rounded once; what float64 alone would
lose (differences of logits, sums, small quotients) is carried in a second term.
"""

from . import cross_entropy as _cross_entropy
from . import elementwise as _elementwise
from . import losses as _losses
from . import rows as _rows
from .cross_entropy import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .losses import *  # noqa: F403
from .rows import *  # noqa: F403

__all__ = [
    name for module in (_elementwise, _rows, _cross_entropy, _losses) for name in module.__all__
]
