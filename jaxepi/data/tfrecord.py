"""TFRecord files without TensorFlow: where each record starts, and any record by number, with its checksums verified.

A record is framed as: length (uint64, little-endian), masked CRC-32C of the length (uint32), payload, masked CRC-32C of
the payload (uint32). The format has no index, so the start offsets are found once by walking the frames.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from jaxepi.errors import JaxepiError

_HEADER = struct.Struct("<QI")  # length of the payload, masked CRC of these 8 bytes
_FOOTER = struct.Struct("<I")  # masked CRC of the payload
FRAMING_BYTES = _HEADER.size + _FOOTER.size

_REMEDY = "copy the file again from its source or rerun what made the dataset"


def masked_crc(data: bytes | memoryview) -> int:
    """CRC-32C of `data`, rotated and offset as TFRecord files store it (so that a CRC of a CRC stays meaningful)."""
    crc = google_crc32c.value(bytes(data))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def frame(payload: bytes) -> bytes:
    """One framed record, ready to be appended to a TFRecord file."""
    length = struct.pack("<Q", len(payload))
    return length + _FOOTER.pack(masked_crc(length)) + payload + _FOOTER.pack(masked_crc(payload))


def _payload_length(header: bytes, path: Path, number: int, offset: int) -> int:
    length, crc = _HEADER.unpack(header)
    if masked_crc(header[:8]) != crc:
        raise JaxepiError(
            f"{path}: record {number} at byte {offset} has a damaged header (its length fails its checksum); {_REMEDY}"
        )
    return length


def _check_payload(payload: bytes, footer: bytes, path: Path, number: int, offset: int) -> None:
    if masked_crc(payload) != _FOOTER.unpack(footer)[0]:
        raise JaxepiError(
            f"{path}: record {number} at byte {offset} is corrupt (its content fails its checksum); {_REMEDY}"
        )


def stream_records(pieces: Iterable[bytes], path: Path) -> Iterator[bytes]:
    """Payloads of the records whose framed bytes come in `pieces` of any size; holds one record and one piece.

    Raises JaxepiError naming `path` and record if the bytes end inside a record or a checksum fails.
    """
    source, buffer, number, offset = iter(pieces), bytearray(), 0, 0

    def fill(size: int) -> bool:
        while len(buffer) < size and (piece := next(source, None)) is not None:
            buffer.extend(piece)
        return len(buffer) >= size

    while fill(1):
        whole = fill(_HEADER.size)
        size = FRAMING_BYTES + (_payload_length(bytes(buffer[: _HEADER.size]), path, number, offset) if whole else 0)
        if not whole or not fill(size):
            raise JaxepiError(f"{path}: the file is truncated: it ends inside record {number}; {_REMEDY}")
        payload = bytes(buffer[_HEADER.size : size - _FOOTER.size])
        _check_payload(payload, bytes(buffer[size - _FOOTER.size : size]), path, number, offset)
        yield payload
        del buffer[:size]
        number, offset = number + 1, offset + size


def index_shard(path: str | os.PathLike[str]) -> np.ndarray:
    """Start offsets in bytes of all records of one file: (records,) uint64, ascending.

    Reads 12 bytes a record; payloads are not touched. Raises JaxepiError if the file is missing, if it ends inside a
    record or if a header is damaged.
    """
    path = Path(path)
    descriptor = _open(path)
    try:
        size = os.fstat(descriptor).st_size
        offsets, offset = [], 0
        while offset < size:
            header = os.pread(descriptor, _HEADER.size, offset)
            whole = len(header) == _HEADER.size
            end = offset + FRAMING_BYTES + (_payload_length(header, path, len(offsets), offset) if whole else 0)
            if not whole or end > size:
                raise JaxepiError(
                    f"{path}: the file is truncated: it ends at byte {size} inside record {len(offsets)}, which starts "
                    f"at byte {offset}; {_REMEDY}"
                )
            offsets.append(offset)
            offset = end
    finally:
        os.close(descriptor)
    return np.array(offsets, np.uint64)


class RecordFile:
    """Random access to the payloads of one TFRecord file.

    `read` may be called from any number of threads: reads are positioned, so no file pointer is shared. The object
    pickles (it is reopened by path) and holds one file descriptor until it is closed or collected.
    """

    def __init__(self, path: str | os.PathLike[str], offsets: np.ndarray | None = None):
        """Opens `path`; `offsets` (records,) uint64 as of `index_shard`, which is called if they are not given."""
        self.path = Path(path)
        offsets = index_shard(self.path) if offsets is None else np.asarray(offsets, np.uint64)
        self._descriptor = _open(self.path)
        size = os.fstat(self._descriptor).st_size
        self._bounds = np.append(offsets, np.uint64(size)).astype(np.int64)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def read(self, number: int) -> bytes:
        """Payload of record `number`. Raises JaxepiError naming file and record if a checksum fails."""
        start, end = int(self._bounds[number]), int(self._bounds[number + 1])
        framed = os.pread(self._descriptor, max(end - start, 0), start)  # below 0 where the file ends before its index
        if len(framed) < max(end - start, FRAMING_BYTES):
            raise JaxepiError(f"{self.path}: record {number} at byte {start} ends early; {_REMEDY}")
        length = _payload_length(framed[: _HEADER.size], self.path, number, start)
        if length != len(framed) - FRAMING_BYTES:
            raise JaxepiError(
                f"{self.path}: record {number} at byte {start} is {length + FRAMING_BYTES} bytes long, but its index "
                f"says {len(framed)}; delete record_index.npz, so that the index is built anew"
            )
        payload = framed[_HEADER.size : -_FOOTER.size]
        _check_payload(payload, framed[-_FOOTER.size :], self.path, number, start)
        return payload

    def close(self) -> None:
        """Releases the file descriptor; further reads fail."""
        descriptor, self._descriptor = getattr(self, "_descriptor", None), None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_bounds": self._bounds}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._descriptor = _open(self.path)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise JaxepiError(f"{path}: this TFRecord file is missing; {_REMEDY}") from None
    except OSError as error:
        raise JaxepiError(f"{path}: cannot be opened ({error.strerror}); check the path and its permissions") from None
