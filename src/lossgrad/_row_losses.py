"""How a loss of rows is called: usual arrays go to C at once, all else is checked and converted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._core.backend import kernels
from ._core.environment import arithmetic

Array = NDArray[Any]

OPS = kernels.ROW_OPS if kernels else {}
# The usual call, asked for by each function where there is nothing but logits and labels: one call
# more, with all those keywords, would take longer than the loss of eight rows.
plain: Any = kernels and kernels.plain_row_loss


def row_loss_of(
    name: str,
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    value: bool = True,
    upstream: ArrayLike | None = None,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    bend: float | None = None,
    axis: int,
    out: Array | None = None,
    lse: Array | None = None,
    sample_weight: ArrayLike | None,
    where: ArrayLike | None,
    num_threads: int | None,
) -> tuple[Any, Any]:
    """(loss if value is asked for, gradient unless upstream is None), of any arguments.

    bend is the parameter, checked, of a loss that has one in place of label_smoothing.
    """
    argument = "log_probs" if name == "nll_loss" else "logits"
    x = check.floating(logits, argument)
    axis = check.loss_axis(x, axis, targets, argument)
    ignore_index = check.ignored_label(ignore_index)
    t = check.class_targets(targets, x, axis, ignore_index)
    if name != "cross_entropy":
        check.labels_only(t)
    rows_shape = check.rows_shape(x.shape, axis)
    smoothing = check.smoothing(label_smoothing)
    terms = {"param": smoothing if bend is None else bend}
    terms |= {"z": check.penalty(z_loss, "z_loss"), "cap": check.soft_cap(softcap, x)}
    entries, of = _targets(
        *(t, x, axis, weight, ignore_index, reduction),
        *(smoothing, terms, sample_weight, where, num_threads),
    )
    lse_result, saved = _saved(lse, value, rows_shape, x.dtype)
    g: Any = 1.0
    if upstream is not None and not value:
        g = check.upstream(upstream, reduction, rows_shape, x.dtype)
    gradient, losses = _outputs(out, upstream is not None, value, reduction, x, axis)

    each = type(g) is np.ndarray
    bad, loss = kernels.row_loss(
        OPS[name if bend != 0 else "cross_entropy"],
        check.filled(x, entries, -math.inf),
        axis,
        of,
        up=1.0 if each else g,
        row_grad=g if each else None,
        mean=reduction == "mean",
        reduced=value and losses is None,
        out=gradient,
        value=losses,
        lse=saved,
        lse_given=saved is not None and not value,
        num_threads=num_threads,
    )
    if bad >= 0:
        raise check.bad_label(t, bad, x.shape[axis], ignore_index)
    if lse_result is not None:
        with arithmetic():
            lse_result[...] = saved.reshape(rows_shape)
            check.finished(lse_result, lse)
    if losses is not None:
        loss = check.finished(losses, out if gradient is None else None)
    if gradient is None:
        return loss, None
    check.clear(gradient, entries)
    return loss, check.finished(gradient, out)


def _outputs(
    out: Array | None, graded: bool, value: bool, reduction: str, x: Array, axis: int
) -> tuple[Array | None, Array | None]:
    """Where the gradient goes, and each row's loss; out is for the first if there is one."""
    gradient = losses = None
    if graded:
        gradient = check.output(out, x.shape, x.dtype, axis=axis)
    else:
        check.loss_out(out, reduction)
    if value and reduction == "none":
        rows = check.rows_shape(x.shape, axis)
        losses = check.row_output(None if graded else out, rows, x.dtype)
    return gradient, losses


def _saved(
    lse: Array | None, value: bool, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Array | None, Any]:
    """Where each row's log-sum-exp goes if there are values, and in float64, from or to C."""
    if lse is None:
        return None, None
    if value:
        result = check.lse_output(lse, shape, dtype)
        return result, np.empty(math.prod(shape))
    with arithmetic():
        given = np.ascontiguousarray(check.lse_input(lse, shape, dtype), np.float64)
    return None, given.reshape(-1)


def _targets(
    t: Array,
    x: Array,
    axis: int,
    weight: ArrayLike | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
    terms: dict[str, float],
    sample_weight: ArrayLike | None,
    where: ArrayLike | None,
    num_threads: int | None,
) -> tuple[Array | None, Any]:
    """(which entries are read, or None for all; what the losses are of, for C)"""
    check.reduction_name(reduction)
    weights = check.class_weight(weight, x.shape[axis], x.dtype)
    rows, entries = check.loss_mask(where, x.shape, axis)
    rows_shape = check.rows_shape(x.shape, axis)
    samples = check.sample_weight(sample_weight, rows, rows_shape, reduction, num_threads)
    labelled = t.dtype.kind in "iu"
    if labelled and reduction == "mean":
        weights, samples = check.weights_of_labels(
            weights, samples, t, ignore_index, smoothing != 0
        )
    return entries, kernels.Targets(
        labels=t if labelled else None,
        soft=None if labelled else check.class_runs(check.filled(t, entries, 0), axis),
        weight=weights,
        sample_weight=samples,
        ignore_index=ignore_index,
        **terms,
    )
