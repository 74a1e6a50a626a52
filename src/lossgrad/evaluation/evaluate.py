"""`lossgrad.evaluate`: one call for arrays, memory maps, pairs, files, shards and dask arrays."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad.evaluation.feed import Progress, source
from lossgrad.evaluation.grouped import Grouped
from lossgrad.evaluation.passes.exact import check_exact, exactly
from lossgrad.evaluation.probabilities import Input
from lossgrad.evaluation.results import Result, Task
from lossgrad.evaluation.state import Evaluation


def evaluate(
    logits: Any,
    targets: Any = None,
    *,
    task: Task = "multiclass",
    axis: int = LAST_AXIS,
    ignore_index: int = -100,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    sample_weight: Any = None,
    groups: Any = None,
    clusters: Any = None,
    bytes: Any = None,
    figures: Sequence[str] = (),
    exact: bool = False,
    bins: int = 15,
    threshold: float = 0.5,
    confusion_limit: int = 256,
    worst: int = 0,
    strict: bool = False,
    input: Input = "logits",
    class_names: Sequence[str] | None = None,
    logits_key: str | None = None,
    targets_key: str | None = None,
    num_threads: int | None = None,
    block_bytes: int | None = None,
    progress: Progress | None = None,
    dask: str | None = None,
    state: Evaluation | Grouped | None = None,
) -> Result:
    """Evaluate logits against targets in one pass over both.

    Parameters
    ----------
    logits : array_like, path, list of paths, dask array, or iterable of pairs
        Two dimensions or more, one of which is that of the classes; one dimension will do for
        the binary task. Memory maps, open HDF5 data sets and zarr arrays are read in blocks and
        never as a whole. A path may be a glob pattern, whose files are taken in the order of the
        numbers in their names.
        Without `targets`: a file that holds both, or an iterable of ``(logits, targets)`` or
        ``(logits, targets, sample_weight)`` blocks.
    targets : array_like, path, list of paths or dask array, optional
        "multiclass": labels, of the logits' shape without `axis`, or with a length of 1 there:
        whole numbers, or names; or one-hot, of the logits' shape. "binary": numbers between 0 and
        1, of the logits' shape; NaN and `ignore_index` are labels that are not known. Arrays and
        paths may stand beside each other.
    task, ignore_index, weight, label_smoothing, bins, threshold, confusion_limit, worst
        As in `Evaluation`.
    axis : int
        The axis of the classes, or of a row's labels.
    sample_weight : array_like, path or str, optional
        A finite weight >= 0 for each row: a mask, say; of the binary task, or for each logit. Of
        files this is a file, too, or the name of an array or column beside the targets.
    groups : array_like, path or str, optional
        A whole number or a text for each row (its domain, its subject): every figure is also given
        for each group, in `Result.groups`.
    clusters : array_like, path or str, optional
        A whole number or a text for each row (its document): standard errors that are right where
        rows of one cluster depend on each other, in ``Result.figures["clusters"]``.
    bytes : array_like, path or str, optional
        The bytes of each row's text, for ``Result.figures["bits_per_byte"]``.
    figures : sequence of {"ranking", "selection", "quantiles", "calibration"}
        What else is wanted, in `Result.figures`; as in `Evaluation`.
    exact : bool
        Read the rows again, a few times, until the figures of "ranking", "selection" and
        "calibration" have no bounds, nor those quantiles that `to_dict` has.
    strict : bool
        A row whose loss is nan is an error, not counted as undefined and left out.
    input : {"logits", "log-probabilities", "probabilities"}
        What `logits` holds. The probabilities of a row must sum to 1 within the rounding of their
        type, and are normalised; those of the binary task are for themselves.
    class_names : sequence of str, optional
        The name of each class, for labels that are names. Tables bring those of their columns.
    logits_key, targets_key : str, optional
        The name in files that hold several arrays or columns; by default "logits" and "targets".
    num_threads : int, optional
        Blocks that are measured at the same time, by default `get_num_threads`. The result does
        not depend on it.
    block_bytes : int, optional
        Bytes of logits to read at a time, by default 8 MiB; of arrays in memory, to look at
        between two calls of `progress`, by default 32 MiB. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(rows_done, rows)`` after each block, or each piece that a cluster has
        done; of an iterable, `rows` are those that it has given so far. Of dask arrays dask itself
        shows how far it is.
    dask : str, optional
        The address of a dask scheduler, on whose workers files are read.
    state : Evaluation, optional
        Totals to add to, in place; it brings its own options.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        Shapes, types or values that cannot be evaluated, with the first bad row.
    FileError
        The same about a file, and files that cannot be read.
    ImportError
        A format's library is missing; the message names the extra to install.

    Examples
    --------
    >>> import numpy as np, lossgrad
    >>> result = lossgrad.evaluate(np.eye(3) * 5, [0, 1, 1])
    >>> result.accuracy, round(result.loss, 6), result.top_k(2)
    (0.6666666666666666, 1.680053, 0.6666666666666666)
    """
    if state is None:
        needed = {"clusters": clusters, "bits_per_byte": bytes}
        state = Evaluation(
            task,
            ignore_index=ignore_index,
            weight=weight,
            label_smoothing=label_smoothing,
            bins=bins,
            threshold=threshold,
            confusion_limit=confusion_limit,
            worst=worst,
            figures=[*figures, *(name for name, column in needed.items() if column is not None)],
        )
        if groups is not None:
            state = Grouped(state)
    columns = {
        "sample_weight": sample_weight,
        "groups": groups,
        "clusters": clusters,
        "bytes": bytes,
    }
    if exact:
        check_exact(state)
    rows = source(
        {"logits": logits, "targets": targets, **columns},
        {"logits": logits_key, "targets": targets_key},
        state.task,
        input=input,
        class_names=class_names,
        again=exact,
        axis=axis,
        strict=strict,
        num_threads=num_threads,
        block_bytes=block_bytes,
        progress=progress,
        dask=dask,
    )
    result: Result = rows.add_to(state).result()
    return exactly(result, state, rows) if exact else result
