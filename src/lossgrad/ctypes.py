"""The kernels as functions of ctypes, for numba and for whatever else calls by address.

Numba compiles a call of them into ``@njit`` functions, a few nanoseconds each. An address is an
integer, such as ``x.ctypes.data``; 0 stands for an array that is not given. Nobody checks what is
at an address: arrays are in C order, stored as is said, and live until the call returns.

``run(op, direction, storage, n, grad, x, second, value, slope, parameters, num_threads)``
    Any elementwise op over `n` elements: forward to `value`, backward to `slope`, a fused loss to
    both. A `second` input or incoming gradient that is 0 is 1 throughout.

``run_rows(what, direction, storage, rows, classes, grad, x, labels, ignore_index, scale, value,
out, num_threads)``
    ``ROWS["softmax"]`` and the others over rows; labels are int64. What is one number a row goes to
    `value`, everything else and gradients to `out`; that of a loss is multiplied by `scale`.

Both return 0; or the row, counted from 1, whose label is neither a class nor `ignore_index`; or a
number below 0 for what else they refuse (``lossgrad.h``). Nothing has been written then.

Examples
--------
>>> import numpy as np
>>> from lossgrad.ctypes import F64, FORWARD, OPS, run
>>> x, y = np.array([-1.0, 0.0, 2.0]), np.empty(3)
>>> run(OPS["relu"], FORWARD, F64, 3, 0, x.ctypes.data, 0, y.ctypes.data, 0, 0, 1)
0
>>> y
array([0., 0., 2.])
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_double, c_int, c_int64, c_size_t, c_ssize_t, c_void_p

from . import kernels

__all__ = [
    "API",
    "BACKWARD",
    "BF16",
    "F16",
    "F32",
    "F64",
    "FORWARD",
    "OPS",
    "ROWS",
    "VALUE_AND_GRAD",
    "run",
    "run_rows",
]

F32, F64, F16, BF16 = range(4)  # as lossgrad.h numbers them
FORWARD, BACKWARD, VALUE_AND_GRAD = range(3)
ROWS = {
    name: k
    for k, name in enumerate(("logsumexp", "softmax", "log_softmax", "cross_entropy", "nll_loss"))
}
OPS = kernels.OPS

_Address = c_size_t
_OPERANDS = (c_int, c_int, c_int)
_Run = ctypes.CFUNCTYPE(c_ssize_t, *_OPERANDS, c_ssize_t, *[_Address] * 6, c_int)
_RunRows = ctypes.CFUNCTYPE(
    c_ssize_t,
    *_OPERANDS,
    *[c_ssize_t] * 2,
    *[_Address] * 3,
    c_int64,
    c_double,
    *[_Address] * 2,
    c_int,
)


class _Api(ctypes.Structure):
    """lg_api."""

    _fields_ = (
        ("abi", c_int),
        ("ops", c_int),
        ("table", c_void_p),
        ("op", ctypes.CFUNCTYPE(c_int, c_char_p)),
        ("level", ctypes.CFUNCTYPE(c_char_p)),
        ("elements", ctypes.CFUNCTYPE(c_ssize_t, c_void_p)),
        ("rows", ctypes.CFUNCTYPE(c_ssize_t, c_void_p)),
        ("run", _Run),
        ("run_rows", _RunRows),
    )


def _address() -> int:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = c_void_p, (ctypes.py_object, c_char_p)
    return pointer(kernels._C_API, b"lossgrad.kernels._C_API")


API = _address()  # where the lg_api of lossgrad.h is, for cffi
_api = _Api.from_address(API)
run, run_rows = _api.run, _api.run_rows
