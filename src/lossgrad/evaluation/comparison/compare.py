"""`lossgrad.compare`: one call for two models' logits in arrays, files, shards and dask arrays."""

from collections.abc import Sequence
from typing import Any

from lossgrad._kernels.defaults import LAST_AXIS
from lossgrad.evaluation.comparison.exact import exactly
from lossgrad.evaluation.comparison.results import ComparisonResult
from lossgrad.evaluation.comparison.state import Comparison
from lossgrad.evaluation.feed import Progress, source
from lossgrad.evaluation.grouped import Grouped
from lossgrad.evaluation.passes.exact import check_exact
from lossgrad.evaluation.probabilities import Input


def compare(
    base: Any,
    other: Any,
    targets: Any = None,
    *,
    axis: int = LAST_AXIS,
    ignore_index: int = -100,
    sample_weight: Any = None,
    groups: Any = None,
    clusters: Any = None,
    bytes: Any = None,
    figures: Sequence[str] = (),
    exact: bool = False,
    top_k: int = 5,
    worst: int = 0,
    input: Input = "logits",
    class_names: Sequence[str] | None = None,
    strict: bool = False,
    base_key: str | None = None,
    other_key: str | None = None,
    targets_key: str | None = None,
    num_threads: int | None = None,
    block_bytes: int | None = None,
    progress: Progress | None = None,
    dask: str | None = None,
    state: Comparison | Grouped | None = None,
) -> ComparisonResult:
    """Compare two models by their logits of the same rows, in one pass over both.

    Parameters
    ----------
    base, other : array_like, path, list of paths or dask array
        Logits of one shape and of any two types, as in `evaluate`. A file of `base` may be one of
        llama.cpp's (.kld), which holds the targets, too.
    targets : array_like, path, list of paths or dask array, optional
        Labels as in `evaluate`; without them only what the models say of each other is found.
    axis : int
        The axis of the classes.
    ignore_index, top_k, worst, figures
        As in `Comparison`.
    exact : bool
        Read the rows again, a few times, until the quantiles that `to_dict` has are exact.
    sample_weight, groups, clusters, bytes, input, class_names, strict, num_threads, block_bytes,
    progress, dask
        As in `evaluate`.
    base_key, other_key, targets_key : str, optional
        The names in files that hold several arrays or columns.
    state : Comparison, optional
        Totals to add to, in place; it brings its own options.

    Returns
    -------
    ComparisonResult

    Raises
    ------
    InputError, FileError, ImportError
        As `evaluate`.

    Examples
    --------
    >>> import numpy as np, lossgrad
    >>> base = np.random.default_rng(0).normal(0, 3, (1000, 10))
    >>> result = lossgrad.compare(base, base.round(1), base.argmax(1))
    >>> f"{result.kl.value:.1e} {result.agreement.value:.3f} {result.perplexity_ratio.value:.4f}"
    '1.9e-04 0.987 1.0006'
    """
    if state is None:
        needed = {"clusters": clusters, "bits_per_byte": bytes}
        figures = [*figures, *(name for name, column in needed.items() if column is not None)]
        state = Comparison(ignore_index=ignore_index, top_k=top_k, worst=worst, figures=figures)
        if groups is not None:
            state = Grouped(state)
    if exact:
        check_exact(state)
    given = {
        "logits": base,
        "other": other,
        "targets": targets,
        "sample_weight": sample_weight,
        "groups": groups,
        "clusters": clusters,
        "bytes": bytes,
    }
    rows = source(
        given,
        {"logits": base_key, "other": other_key, "targets": targets_key},
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
    result: ComparisonResult = rows.add_to(state).result()
    return exactly(result, state, rows) if exact else result
