"""Opening .safetensors files: a tensor is a range of the file."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from lossgrad._core.extras import need
from lossgrad.evaluation.formats.choice import Choice, Size
from lossgrad.evaluation.formats.file_array import FileArray
from lossgrad.evaluation.formats.guard import as_file_errors, reading
from lossgrad.evaluation.problems import FileError

_TENSOR_DTYPES = {
    "BF16": "bfloat16",  # which ml_dtypes makes known
    "BOOL": "bool",
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def open_tensor(path: Path, choice: Choice) -> FileArray:
    """A tensor of a .safetensors file: one range of it, once the library has checked the header."""
    safe_open = need("safetensors", "safetensors", "a .safetensors file").safe_open
    with reading(path), as_file_errors(path, "a .safetensors file"):
        with safe_open(path, framework="np") as tensors:
            key = choice.name(path, list(tensors.keys()), lambda name: _size(tensors, name))
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(start - 8))[key]
            name = header["dtype"]
            if name not in _TENSOR_DTYPES:
                raise FileError(path, f"{key} has dtype {name}, which is not supported")
            if name == "BF16":
                need("ml_dtypes", "safetensors", "bfloat16")
            dtype = np.dtype(_TENSOR_DTYPES[name])
            start += header["data_offsets"][0]
            return FileArray(path, file, dtype, tuple(header["shape"]), start)


def _size(tensors: Any, name: str) -> Size:
    found = tensors.get_slice(name)
    return math.prod(found.get_shape()), found.get_dtype()[0] not in "UIB"
