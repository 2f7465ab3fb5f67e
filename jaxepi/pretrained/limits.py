"""How much a file may claim to hold, checked by its headers before anything is unpacked."""

import math
import zipfile
from collections.abc import Iterable
from typing import IO

import numpy as np

from jaxepi.errors import JaxepiError

HARMLESS = 2**28  # bytes that any file may unpack to
MOST_TIMES = 64  # larger content may be so many times the file; weights shrink by a tenth where a bomb shrinks by 1000


def most_bytes(size: int) -> int:
    """Bytes that a file of `size` bytes may unpack to."""
    return max(HARMLESS, MOST_TIMES * size)


def check_claim(claimed: int, size: int, name: str) -> None:
    """Raises JaxepiError if a file of `size` bytes claims to hold more than weights of this size can."""
    if claimed > most_bytes(size):
        raise JaxepiError(
            f"{name} was refused: it has {size:,} bytes, but claims to hold {claimed:,} bytes of weights: get the file "
            "again from where it was released."
        )


def zip_members(stream: IO[bytes], size: int, name: str) -> list[str]:
    """Names in a zip archive; the stream is then at its start again.

    Raises:
      JaxepiError: it is damaged, or claims more than `check_claim` allows.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
    except Exception as problem:  # a damaged directory fails in as many ways as there are bytes
        raise JaxepiError(f"{name} is truncated or damaged ({problem}).") from problem
    check_claim(sum(member.file_size for member in members), size, name)
    stream.seek(0)
    return [member.filename for member in members]


def check_zip_checksums(stream: IO[bytes], name: str) -> None:
    """Reads every member once, because torch maps them without a look at their checksums; the stream is then at 0.

    Raises:
      JaxepiError: a member is not what was written.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            wrong = archive.testzip()
    except Exception as problem:  # a damaged member fails in as many ways as there are bytes
        raise JaxepiError(f"{name} is truncated or damaged ({problem}).") from problem
    if wrong is not None:
        raise JaxepiError(f"{name} is damaged: {wrong} in it does not match its checksum: get the file again.")
    stream.seek(0)


def check_npz_headers(archive: zipfile.ZipFile, name: str) -> None:
    """Compares the shape that each array's header tells with the bytes that follow it.

    Raises:
      JaxepiError: they differ, or an array holds pickled objects.
      ValueError: a header is not readable.
    """
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    for member in archive.infolist():
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version not in readers:
                raise ValueError(f"{member.filename} has a header of the unknown version {version}")
            shape, _, dtype = readers[version](file)
            if dtype.hasobject:
                raise JaxepiError(f"{name} was refused: it holds pickled objects, which may execute code.")
            held = member.file_size - file.tell()
        if claimed_bytes([(shape, dtype.itemsize)]) != held or min(shape, default=0) < 0:
            raise JaxepiError(
                f"{name} was refused: {member.filename} claims the shape {shape} of {dtype}, but holds {held} bytes."
            )


def claimed_bytes(arrays: Iterable[tuple[Iterable[int], int]]) -> int:
    """Bytes of arrays told as (shape, bytes a value); exact however large."""
    return sum(math.prod(int(length) for length in shape) * itemsize for shape, itemsize in arrays)
