"""Opening tensors that torch.save wrote: by torch's own loader, which runs nothing in the file."""

import pickle
from pathlib import Path
from typing import Any

from lossgrad.evaluation.formats.choice import Choice, size_of
from lossgrad.evaluation.formats.guard import as_file_errors, reading
from lossgrad.evaluation.problems import FileError


def open_pickled(path: Path, choice: Choice) -> Any:
    """A tensor of a .pt file, which is read whole: the tensor, one of a dict, or of a sequence."""
    with reading(path):
        try:
            from lossgrad.torch import saved_arrays  # the one module that imports torch
        except ImportError as error:
            raise ImportError(
                f"{path} can be read by torch alone; without it, save its tensors where it is: "
                f"safetensors.torch.save_file(dict(logits=..., targets=...), "
                f"'{path.stem}.safetensors') ({error})"
            ) from None
        with as_file_errors(path, "tensors that torch.save wrote"):
            try:
                arrays = saved_arrays(path)
            except pickle.UnpicklingError:  # whose message says how to run it all the same
                problem = "holds more than tensors and plain containers, which is never unpickled"
                raise FileError(path, f"{problem}; save the tensors alone") from None
    name = choice.name(
        path, [*arrays], lambda name: size_of(arrays[name].shape, arrays[name].dtype)
    )
    return arrays[name]
