"""Bytes that travel in chunks, named by the BLAKE3 hash of the whole: cut apart here, put together there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from blake3 import blake3

from pie_client.errors import ClientError

__all__ = ["CHUNK_BYTES", "Assembly", "BadTransfer", "Chunk", "content_hash", "split"]

CHUNK_BYTES = 256 << 10


class BadTransfer(ClientError):
    """Chunks that do not make up what was announced."""


def content_hash(data: bytes) -> str:
    """The BLAKE3 hash of the bytes, 64 lower-case hexadecimal digits."""
    return blake3(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of some bytes, with its place among `total` pieces; no bytes are one empty piece."""

    index: int
    total: int
    data: bytes


def split(data: bytes) -> Iterator[Chunk]:
    """The chunks of the bytes, in order."""
    total = max(1, -(-len(data) // CHUNK_BYTES))
    for index in range(total):
        yield Chunk(index, total, data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES])


class Assembly:
    """The chunks of one transfer that have come so far, of which there may be a bounded number of bytes."""

    def __init__(self, expected_hash: str, total_chunks: int, *, max_bytes: int) -> None:
        """Expect `total_chunks` chunks that together have `expected_hash`."""
        self._expected_hash = expected_hash
        self._total_chunks = total_chunks
        self._max_bytes = max_bytes
        self._num_chunks = 0
        self._hash = blake3()
        self._data = bytearray()

    @property
    def num_bytes(self) -> int:
        """Bytes that have come."""
        return len(self._data)

    def add(self, chunk: Chunk) -> bytes | None:
        """Take the next chunk.

        Returns:
            The whole once the last chunk has come; None before.

        Raises:
            BadTransfer: `upload-out-of-order`, `upload-count-mismatch`, `upload-too-large` or `upload-hash-mismatch`.
        """
        data = chunk.data
        if chunk.index != self._num_chunks:
            first = "First chunk index must be 0"
            later = f"Out-of-order chunk: expected {self._num_chunks}, got {chunk.index}"
            raise BadTransfer("upload-out-of-order", later if self._num_chunks else first)
        if chunk.total != self._total_chunks or not chunk.total:
            cause = f"Chunk count mismatch: expected {self._total_chunks or 'at least 1'}, got {chunk.total}"
            raise BadTransfer("upload-count-mismatch", cause)
        if self.num_bytes + len(data) > self._max_bytes:
            cause = f"upload exceeds max_upload_mb cap of {self._max_bytes >> 20} MiB"
            raise BadTransfer("upload-too-large", cause)
        self._num_chunks += 1
        self._hash.update(data)
        self._data += data
        return self._whole() if self._num_chunks == self._total_chunks else None

    def _whole(self) -> bytes:
        found = self._hash.hexdigest()
        if found != self._expected_hash:
            cause = f"the bytes have the BLAKE3 hash {found}, not {self._expected_hash[:100]}"
            raise BadTransfer("upload-hash-mismatch", cause)
        return bytes(self._data)
