"""llama.cpp's files of a base model's log-probabilities, as `--kl-divergence-base` writes them.

After the name "_logits_" come the tokens of a chunk, of the vocabulary and the number of chunks
(n_ctx, n_vocab, n_chunk, 4 bytes each), all tokens (4 bytes each), and for the second half of each
chunk a row for each token that is predicted: scale and minimum (float32) and, after two of these,
n_vocab numbers k of 16 bits, padded to an even number. The log-probability is minimum + k scale; 0
stands for whatever is not above the minimum, which is at most 16 below the largest.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossgrad.evaluation.formats.choice import Choice
from lossgrad.evaluation.formats.file_array import Buffer, FileArray, Index
from lossgrad.evaluation.formats.guard import reading
from lossgrad.evaluation.problems import FileError

MAGIC = b"_logits_"
_HEAD = 4  # numbers of 16 bits before those of the vocabulary: two float32


class LogProbabilities:
    """The log-probabilities of a .kld file as float32, read in pieces.

    Parameters
    ----------
    rows : FileArray
        Of 16 bits, a row for each token.
    classes : int
    """

    concurrent = True
    ndim = 2

    def __init__(self, rows: FileArray, classes: int) -> None:
        self._rows = rows
        self.shape, self.dtype = (rows.shape[0], classes), np.dtype(np.float32)

    def __getitem__(self, index: Index) -> NDArray[np.float32]:
        stored = self._rows.read(index[:1], Buffer())
        head = np.ascontiguousarray(stored[..., :_HEAD]).view("<f4")
        scale, least = head[..., :1], head[..., 1:]
        found = stored[..., _HEAD : _HEAD + self.shape[1]].astype(np.float32)
        found *= scale
        found += least
        return found

    def request(self, index: Index) -> None:
        """As `FileArray.request`."""
        self._rows.request(index[:1])


def open_kld(path: Path, choice: Choice) -> Any:
    """The log-probabilities, or the targets: the tokens that they are for.

    Raises
    ------
    FileError
        It is no such file, or not as long as it says.
    """
    names = ["logits", "targets"]
    key = choice.name(path, names)
    with reading(path), path.open("rb") as file:
        if (start := file.read(len(MAGIC))) != MAGIC:
            raise FileError(path, f"is not a file of llama.cpp's: it starts with {start!r}")
        sizes = np.frombuffer(file.read(12).ljust(12, b"\0"), "<u4")
        if min(sizes) < 1 or sizes[0] < 3:
            raise FileError(path, f"has a damaged header: sizes {sizes.tolist()}")
        context, classes, chunks = map(int, sizes)
        first = context // 2
        each = context - 1 - first  # rows of a chunk: of the tokens after its first half
        width = _HEAD + classes + classes % 2
        begin = len(MAGIC) + 12 + 4 * context * chunks
        wanted, there = begin + 2 * width * each * chunks, path.stat().st_size
        if there != wanted:
            problem = f"has {there} bytes where {chunks} chunks of {context} tokens take {wanted}"
            raise FileError(path, problem)
        if key == "targets":
            tokens = FileArray(path, file, np.dtype("<i4"), (chunks, context), len(MAGIC) + 12)
            return tokens[()][:, first + 1 :].reshape(-1).copy()
        rows = FileArray(path, file, np.dtype("<u2"), (each * chunks, width), begin)
        return LogProbabilities(rows, classes)
