"""The digest of every function's results, in every dtype, on fixed inputs: what digests.json pins.

``python tests/digests.py`` names those that differ from the file; with ``--update`` it writes the
file and prints the line that CHANGELOG.md must then have. Inputs are made by integer arithmetic and
exact scaling, so that no version of NumPy or of the C library has a say in them.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from calls import bits, calls

import lossgrad
from lossgrad.evaluation.pairs import pair_statistics
from lossgrad.registry import OPS

HERE = Path(__file__).parent
FILE = HERE / "digests.json"
CHANGELOG = HERE.parent / "CHANGELOG.md"
DTYPES = ("float16", "bfloat16", "float32", "float64")
# Vectors and a tail, more rows than a batch and an inner axis, rows of more than a block.
SHAPES = [((37,), -1), ((35, 3, 2), 1), ((2, 1100), -1)]
EXTREME_SHAPE = ((70, 9), -1)


class Numbers:
    """What calls.py asks of a random generator: splitmix64 (Steele, Lea and Flood 2014)."""

    def __init__(self):
        self.used = 0

    def words(self, size):
        count = int(np.prod(size, dtype=int))
        z = np.arange(self.used + 1, self.used + count + 1, dtype=np.uint64)
        self.used += count
        z *= np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        return (z ^ (z >> np.uint64(31))).reshape(size)

    def uniform(self, low=0.0, high=1.0, size=()):
        return low + (high - low) * ((self.words(size) >> np.uint64(11)) * 2.0**-53)

    def normal(self, size=()):
        """Nearly: four uniform numbers, added up as integers."""
        total = sum((self.words(size) >> np.uint64(13)).astype(np.int64) for _ in range(4))
        return (total - 2**52) * 2.0**-51 * 1.75

    def integers(self, low, high, size=()):
        return (self.words(size) % np.uint64(high - low)).astype(np.int64) + low

    def choice(self, values, size=()):
        return np.asarray(values)[self.integers(0, len(values), size)]


def extreme(call, numbers, dtype):
    """The call with infinities, NaN, zeros and subnormals among its first input."""
    info = np.finfo(dtype) if dtype != "bfloat16" else _ml_dtypes().finfo(dtype)
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -104.0, 746.0])
    ends = [info.max, info.tiny, info.smallest_subnormal, -info.smallest_subnormal]
    values = np.append(values, np.array(ends).astype(np.float64))
    x = call.arrays[call.main]
    special = numbers.choice(values, x.shape).astype(x.dtype)
    call.arrays[call.main] = np.where(numbers.integers(0, 12, x.shape) == 0, special, x)
    return call


def _ml_dtypes():
    import ml_dtypes

    return ml_dtypes


def _kind(dtype):
    return _ml_dtypes().bfloat16 if dtype == "bfloat16" else np.dtype(dtype).type


def cases(dtype, shapes=(*SHAPES, EXTREME_SHAPE)):
    """The calls that are digested, of all functions."""
    kind = _kind(dtype)
    made = []
    for shape, axis in shapes:
        # each from the first number on, so that one operation more or less changes no other's
        found = [call for op in OPS for call in calls(op, shape, kind, Numbers(), axis, brief=True)]
        if (shape, axis) == EXTREME_SHAPE:
            found = [extreme(call, Numbers(), dtype) for call in found if call.takes_any_number]
        made += found
    return made


def update(own, found):
    """Takes the bits of arrays into a hash."""
    for a in found:
        own.update(f"{a.dtype.name} {a.shape} ".encode())
        b = bits(a)
        own.update(b.astype(b.dtype.newbyteorder("<")).tobytes())


def digests(calls, results):
    """{function: digest of its results in all calls}"""
    hashes = {}
    for call, found in zip(calls, results, strict=True):
        update(hashes.setdefault(call.function, hashlib.sha256()), found)
    return {name: own.hexdigest()[:16] for name, own in hashes.items()}


def digest_of_pairs(dtype):
    """The digest of two models' rows, nearly equal, otherwise and shifted, some of them masked."""
    kind, own = _kind(dtype), hashlib.sha256()
    for rows, classes in ((9, 7), (35, 40), (3, 1100)):
        numbers = Numbers()
        x, noise = numbers.normal((rows, classes)) * 4, numbers.normal((rows, classes))
        z = x + noise * numbers.choice([2**-10, 0.25, 4, 64], (rows, 1))
        z += numbers.choice([0, 0, 1.5, -300], (rows, 1))
        for a in (x, z):
            a[numbers.integers(0, 50, a.shape) == 0] = -np.inf
        labels = numbers.integers(0, classes, rows)
        update(own, pair_statistics(x.astype(kind), z.astype(kind), labels, top_k=3))
    return own.hexdigest()[:16]


def computed():
    """{function: {dtype: digest}} on the level in use."""
    found = {}
    for dtype in DTYPES:
        made = cases(dtype)
        for name, digest in digests(made, [call(lossgrad) for call in made]).items():
            found.setdefault(name, {})[dtype] = digest
        found.setdefault("pair_statistics", {})[dtype] = digest_of_pairs(dtype)
    return found


def pinned():
    return json.loads(FILE.read_text())


def mark(found):
    """What the changelog must name: it changes with any digest."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:8]


def main(arguments):
    old, new = pinned() if FILE.exists() else {}, computed()
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            print(f"{name}: {old.get(name)} -> {new.get(name)}")
    if arguments == ["--update"]:
        rows = [f"{json.dumps(name)}: {json.dumps(new[name])}" for name in sorted(new)]
        FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
        print(f"\nCHANGELOG.md: - Digests {mark(new)}: which results changed, and why.")
        return 0
    return int(old != new)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
