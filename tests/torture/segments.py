"""Segments of the log as docs/formats.md has them, read a second time: where each entry is in the file."""

import struct
from dataclasses import dataclass

HEADER_BYTES = 96
FRAME = struct.Struct("<4sIQQBBHI16sQII")
FRAME_MAGIC = b"ALF1"
BATCH = 1


@dataclass(frozen=True)
class Frame:
    seq: int
    kind: int
    start: int
    # Without the padding.
    end: int


def frames(path):
    """Those of a segment that is whole."""
    content = path.read_bytes()
    assert content.startswith(b"ALULAWAL"), path
    found, position = [], HEADER_BYTES
    while content[position : position + 4] == FRAME_MAGIC:
        _, length, seq, _, kind, *_ = FRAME.unpack_from(content, position)
        end = position + FRAME.size + length + 4
        found.append(Frame(seq, kind, position, end))
        position = -(-end // 8) * 8
    return found


def segments(data_dir):
    return sorted(data_dir.glob("wal/*.wal"))
