"""The functions of the backend in use."""

from ._core import backend as _backend

if _backend.kernels:
    from .activations import *  # noqa: F403
    from .distributions import *  # noqa: F403
    from .focal_losses import *  # noqa: F403
    from .losses import *  # noqa: F403
    from .norms import *  # noqa: F403
    from .regression import *  # noqa: F403
    from .row_losses import *  # noqa: F403
    from .softmax_family import *  # noqa: F403
else:
    from .reference import *  # noqa: F403
