"""Read ``.npy`` and ``.npz`` files a block of rows at a time, so that memory does not grow with the data.

A member of an ``.npz`` is a zip entry, stored or deflated, that holds an ``.npy`` file: a short header, then
the rows one after another (NEP 1). Rows in Fortran order lie scattered; such a member is read whole. Pickled
objects are never loaded.
"""

import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.lib import format as npy

from onnxq.errors import DataError
from onnxq.inputs import Array

BROKEN = (
    *(OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error),
    RuntimeError,  # zipfile's, for an encrypted member
    tokenize.TokenError,  # numpy's, for a damaged header
)
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Rows(Protocol):
    """An array that is read in blocks along axis 0."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[np.generic]: ...

    def blocks(self, rows: int) -> Iterator[Array]:
        """The array from its first row to its last, ``rows`` at a time; the last block may be shorter."""

    def part(self, start: int, stop: int) -> "Rows":
        """Rows ``start`` to ``stop``, without reading the others."""


@dataclass(frozen=True, eq=False)
class Held:
    """Rows of an array in memory."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.array.dtype

    def blocks(self, rows: int) -> Iterator[Array]:
        for start in range(0, len(self.array), rows):
            yield self.array[start : start + rows]

    def part(self, start: int, stop: int) -> "Held":
        return Held(self.array[start:stop])


@dataclass(frozen=True)
class NpyFile:
    """Rows of an ``.npy`` file, from number ``first`` on; the file is mapped, not read."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    first: int = 0

    def blocks(self, rows: int) -> Iterator[Array]:
        with reading(self.path):
            mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
            end = self.first + self.shape[0]
            for start in range(self.first, end, rows):
                yield np.array(mapped[start : min(start + rows, end)], self.dtype.newbyteorder("="))

    def part(self, start: int, stop: int) -> "NpyFile":
        return replace(self, shape=(stop - start, *self.shape[1:]), first=self.first + start)


@dataclass(frozen=True)
class NpzMember:
    """Rows of one array of an ``.npz`` file, from number ``first`` on."""

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran: bool
    first: int = 0

    def blocks(self, rows: int) -> Iterator[Array]:
        with reading(self.path), zipfile.ZipFile(self.path) as archive, self._open(archive) as stream:
            if self.fortran:
                held = Held(npy.read_array(stream, allow_pickle=False))
                yield from held.part(self.first, self.first + self.shape[0]).blocks(rows)
                return
            read_header(stream, archive.getinfo(self.member).file_size)
            stream.seek(self.first * math.prod(self.shape[1:]) * self.dtype.itemsize, os.SEEK_CUR)
            for start in range(0, self.shape[0], rows):
                yield self._block(stream, min(rows, self.shape[0] - start))

    def part(self, start: int, stop: int) -> "NpzMember":
        return replace(self, shape=(stop - start, *self.shape[1:]), first=self.first + start)

    def _open(self, archive: zipfile.ZipFile) -> IO[bytes]:
        """The member from its start. A part of a stored one is sought in the file: zipfile would read its way there."""
        info = archive.getinfo(self.member)
        if not self.first or info.compress_type != zipfile.ZIP_STORED:
            return archive.open(self.member)
        stream = self.path.open("rb")
        stream.seek(info.header_offset + 26)  # of the local header's 30 bytes, where its two lengths are
        name, extra = struct.unpack("<HH", stream.read(4))
        stream.seek(name + extra, os.SEEK_CUR)
        return stream

    def _block(self, stream: IO[bytes], rows: int) -> Array:
        shape = (rows, *self.shape[1:])
        raw = stream.read(math.prod(shape) * self.dtype.itemsize)
        return np.frombuffer(raw, self.dtype).reshape(shape).astype(self.dtype.newbyteorder("="), copy=False)


def open_npy(path: Path) -> NpyFile:
    """The rows of an ``.npy`` file, its header read. Raises DataError when it is not one."""
    with reading(path), path.open("rb") as stream:
        shape, _, dtype = read_header(stream, path.stat().st_size)
    return NpyFile(path, shape, dtype)


def open_npz(path: Path) -> dict[str, NpzMember]:
    """The rows of every array of an ``.npz`` file by name. Raises DataError when it is not one."""
    members = {}
    with reading(path), zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if not member.endswith(".npy"):
                raise DataError(f"{path}: member {member!r} is not an .npy array; write it with np.savez.")
            with archive.open(member) as stream:
                shape, fortran, dtype = read_header(stream, archive.getinfo(member).file_size)
            scattered = fortran and len(shape) > 1
            members[member.removesuffix(".npy")] = NpzMember(path, member, shape, dtype, scattered)
    return members


def read_header(stream: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Shape, whether in Fortran order, and dtype; the stream then stands at the first row.

    ``size`` is the bytes there are. Raises ValueError when the header is wrong, or announces more or pickles.
    """
    version = npy.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"unknown .npy version {version}")
    shape, fortran, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which are never loaded; save plain numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"it should hold an array of shape {list(shape)} and is too short for that")
    return shape, fortran, dtype


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file that cannot be read: missing, damaged, encrypted, cut short or full of pickles."""
    try:
        yield
    except BROKEN as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read as arrays: {reason}. Write it with np.save or np.savez.") from error
