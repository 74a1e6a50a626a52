# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, embedsignature=True
"""Crossings into C: one function for each shape of loop, not one for each op.

Callers have checked dtypes, shapes and labels (``_core/arguments``); here the shapes are compared once
more, since C trusts them. Arrays are walked as grids: (outer, middle, inner), the class axis in the
middle. Each call describes a job to C and is back when it is done, without the GIL from the first
part to the last, however many threads share it (``csrc/pool.c``): a call holds its arrays for as long
as it lasts. The time of a small call is that of its checks: ``plain_`` functions know the usual
arguments at a glance, and leave all others, and every error, to Python.
"""

import os

import numpy as np

from cpython.exc cimport PyErr_Occurred
from cpython.long cimport PyLong_AsLongAndOverflow, PyLong_AsLongLongAndOverflow
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport INFINITY, NAN, fabs, frexp, isfinite
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from numpy cimport (
    NPY_ARRAY_WRITEABLE, NPY_CASTING, NPY_DOUBLE, NPY_FLOAT, NPY_FLOAT16, NPY_INT64, NPY_NO_CASTING, PyArray_BYTES, PyArray_CheckExact, PyArray_DIM, PyArray_DIMS,
    PyArray_EMPTY, PyArray_IS_C_CONTIGUOUS, PyArray_ISBEHAVED_RO, PyArray_ISCARRAY, PyArray_ISCARRAY_RO,
    PyArray_ISINTEGER, PyArray_ISNOTSWAPPED, PyArray_ISUNSIGNED, PyArray_ISWRITEABLE,
    PyArray_ITEMSIZE, PyArray_NBYTES, PyArray_NDIM, PyArray_SAMESHAPE, PyArray_SIZE, PyArray_SimpleNew,
    PyArray_STRIDE, PyArray_TYPE, import_array, import_umath, ndarray, npy_intp,
)

from . import threads
from .defaults import LAST_AXIS

import_array()

FORWARD, BACKWARD, VALUE_AND_GRAD = LG_FORWARD, LG_BACKWARD, LG_VALUE_AND_GRAD

include "levels.pxi"
include "sums.pxi"
include "jobs.pxi"
include "overlaps.pxi"
include "views.pxi"
include "elements.pxi"
include "rows.pxi"
include "norms.pxi"
include "totals.pxi"
include "plain.pxi"
include "ufuncs.pxi"

set_level(os.environ.get("LOSSGRAD_ISA") or None)
