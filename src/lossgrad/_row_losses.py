"""How a loss of rows is called: usual arrays go to C at once, all else is checked and converted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._core import arguments as check
from ._core.backend import kernels
from ._core.directions import BACKWARD, FORWARD, gives_value, slopes
from ._core.environment import arithmetic

Array = NDArray[Any]

OPS = kernels.ROW_OPS if kernels else {}
# The usual call, asked for by each function where there is nothing but logits and labels: one call
# more, with all those keywords, would take longer than the loss of eight rows.
plain: Any = kernels and kernels.plain_row_loss


def usual(
    name: str,
    direction: int,
    grad: ArrayLike | None,
    logits: ArrayLike,
    labels: ArrayLike,
    ignore_index: int,
    reduction: str,
    param: float,
    axis: int,
    out: Array | None,
    num_threads: int | None,
) -> tuple[Any, ...] | None:
    """What the direction asks for of the usual call; None if it is for others to say."""
    if direction == BACKWARD and type(grad) is not float:
        return None
    upstream = grad if direction == BACKWARD else None if direction == FORWARD else 1.0
    value = gives_value(direction)
    found: tuple[Any, ...] | None = plain(
        *(OPS[name], upstream, logits, labels, ignore_index, reduction, param),
        *(axis, out, value, num_threads),
    )
    return found and found[0 if value else 1 : 1 + slopes(direction)]


def row_loss_of(
    name: str,
    direction: int,
    grad: Any,
    logits: ArrayLike,
    targets: ArrayLike,
    weight: ArrayLike | None,
    *,
    ignore_index: int,
    reduction: str,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    bend: float | None = None,
    axis: int,
    out: check.Outs = None,
    lse: Array | None = None,
    sample_weight: ArrayLike | None,
    where: ArrayLike | None,
    num_threads: int | None,
) -> tuple[Any, ...]:
    """What the direction asks for, of any arguments.

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
    value = gives_value(direction)
    lse_result, saved = _saved(lse, value, rows_shape, x.dtype)
    g: Any = 1.0
    if direction == BACKWARD:
        g = check.upstream(grad, reduction, rows_shape, x.dtype)
    losses, gradient, hessian = places = check.row_places(out, direction, reduction, x, axis)

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
        hess=hessian,
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
    for place in (gradient, hessian):
        if place is not None:
            check.clear(place, entries)
    total = (loss,) if value and losses is None else ()
    return (*total, *check.all_finished(places, out, direction))


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
