"""What users give as logits, targets and weights, as arrays.

What a container says beside its numbers is honoured or refused here, for every entrance of an
evaluation: masks and missing values, and the names of rows and axes, by which xarray and pandas
would pair what is paired by position here.
"""

from typing import Any

from lossgrad._core import arguments as check
from lossgrad.evaluation.problems import DtypeError, InputError


def as_array(given: Any, source: str) -> Any:
    """An array; what is read in pieces (HDF5, zarr, dask) stays what it is."""
    lazy = type(given).__module__.partition(".")[0] in ("h5py", "zarr", "dask")
    if lazy and hasattr(given, "shape"):
        return given
    try:
        return check.as_array(given, source)
    except TypeError as error:
        raise DtypeError(source, str(error).removeprefix(f"{source} ")) from None


def as_arrays(given: dict[str, Any], axis: int) -> dict[str, Any]:
    """Arrays that belong together, by what they are for; None is one that is not there."""
    given = {use: one for use, one in given.items() if one is not None}
    for use, one in given.items():
        _check_names(given.get("logits"), one, use, axis)
    return {use: as_array(one, use) for use, one in given.items()}


def class_names(logits: Any) -> list[str] | None:
    """What the columns of a table are called, if they have names."""
    names = getattr(logits, "columns", None)
    if names is None or not all(isinstance(name, str) for name in names):
        return None
    return list(names)


def _check_names(logits: Any, beside: Any, source: str, axis: int) -> None:
    """Rows and axes that have names must have the same ones, in one order, in what is paired.

    `beside` has the axes of the logits, or those without the class axis.
    """
    axes, others = getattr(logits, "dims", None), getattr(beside, "dims", None)
    if axes and others and isinstance(axes, tuple):
        wanted = [*axes]
        if len(others) < len(axes):
            del wanted[axis]
        if others != (*wanted,):
            raise InputError(
                source, f"dimensions {others} where the logits need {(*wanted,)}: transpose one"
            )
        rows = [(logits.indexes.get(name), beside.indexes.get(name)) for name in others]
    else:
        rows = [(getattr(logits, "index", None), getattr(beside, "index", None))]
    for mine, theirs in rows:
        if hasattr(mine, "equals") and hasattr(theirs, "equals") and not mine.equals(theirs):
            raise InputError(
                source,
                "its index differs from that of the logits, and rows are paired by position: "
                "bring both into one order, or pass .to_numpy()",
            )
