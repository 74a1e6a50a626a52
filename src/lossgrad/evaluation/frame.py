"""What every state is in bytes: a name, a version, a header in JSON, data, and one checksum of all.

Bytes that come from elsewhere are judged before anything is made of them: first the name, then the
checksum, then how deep and how large the header is.
"""

import json
import re
import struct
import zlib
from typing import Any

import numpy as np

VERSION = 3
_START = struct.Struct("<HI")  # version, length of the header
_CHECK = struct.Struct("<I")  # CRC-32 of all that precedes
_HEADER_BYTES = 1 << 28
_DEPTH = 4  # of a header: an object, its lists, their rows
_STEPS = np.zeros(256, np.int8)  # what each character adds to the depth
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')


def pack(name: bytes, header: dict[str, Any], data: bytes) -> bytes:
    """Header and data in a frame of this name."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    if len(text) > _HEADER_BYTES:
        raise ValueError(f"a header of {len(text)} bytes, {_HEADER_BYTES} are possible")
    content = b"".join((name, _START.pack(VERSION, len(text)), text, data))
    return content + _CHECK.pack(zlib.crc32(content))


def unpack(name: bytes, content: bytes, what: str) -> tuple[dict[str, Any], memoryview]:
    """Header and data of a frame that `pack` made of this name.

    Raises
    ------
    ValueError
        It is no such frame, is damaged, or of a version that is not known here.
    """
    if not content.startswith(name):
        raise ValueError(f"not a saved {what}")
    start = len(name) + _START.size
    if len(content) < start + _CHECK.size:
        raise ValueError(f"a damaged {what}: it ends after {len(content)} bytes")
    version, length = _START.unpack_from(content, len(name))
    if version != VERSION:
        again = "; evaluate again" if version < VERSION else ""  # no earlier one was released
        raise ValueError(
            f"a saved {what} of version {version}; this lossgrad reads {VERSION}{again}"
        )
    view = memoryview(content)[: -_CHECK.size]
    if _CHECK.unpack(content[-_CHECK.size :])[0] != zlib.crc32(view):
        raise ValueError(f"a damaged {what}: its checksum is wrong")
    if length > min(_HEADER_BYTES, len(view) - start):
        raise ValueError(f"a damaged {what}: its header is longer than it may be")
    return _header(bytes(view[start : start + length]), what), view[start + length :]


def _header(text: bytes, what: str) -> dict[str, Any]:
    # Before it is parsed: the parser calls itself for each level, and so runs out of stack.
    marks = np.frombuffer(_TEXT.sub(b"", text), np.uint8)
    if _STEPS[marks].cumsum(dtype=np.int64).max(initial=0) > _DEPTH:
        raise ValueError(f"a damaged {what}: its header is nested too deeply")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise ValueError(f"a damaged {what}: {error}") from None
    if not isinstance(header, dict):
        raise ValueError(f"a damaged {what}: its header is not an object")
    return header
