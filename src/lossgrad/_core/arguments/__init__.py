"""Every check of an argument and every error message, once, for kernels and reference alike.

Nothing numeric happens here: arrays come back in a form that can be computed with, or an error says
what was wrong and what to do. Helpers try the usual case first, because a small call has to be over
in about a microsecond; the most usual calls do not come here (``plain_`` in ``_kernels``).
"""

from .classes import *  # noqa: F403
from .containers import *  # noqa: F403
from .dtypes import *  # noqa: F403
from .masks import *  # noqa: F403
from .options import *  # noqa: F403
from .outputs import *  # noqa: F403
from .ranges import *  # noqa: F403
from .shapes import *  # noqa: F403
from .targets import *  # noqa: F403
from .weights import *  # noqa: F403
