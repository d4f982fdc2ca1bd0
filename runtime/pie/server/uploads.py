"""What a session is uploading: chunks of programs and files, put together within bounds."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from pie.errors import RequestError
from pie_client.chunks import Assembly, BadTransfer, Chunk

__all__ = ["IDLE_S", "MAX_OPEN", "UploadRoom", "Uploads"]

MAX_OPEN = 16
IDLE_S = 60.0


class UploadRoom:
    """Memory for unfinished uploads, shared by all sessions."""

    def __init__(self, max_bytes: int) -> None:
        """Lend `max_bytes` in all."""
        self.num_taken = 0
        self._max_bytes = max_bytes

    def take(self, num_bytes: int) -> None:
        """Take some.

        Raises:
            RequestError: `upload-no-room`.
        """
        if self.num_taken + num_bytes > self._max_bytes:
            raise RequestError(
                "upload-no-room",
                f"unfinished uploads of all clients use up the {self._max_bytes >> 20} MiB for them",
                remedy="Try again later.",
            )
        self.num_taken += num_bytes

    def give_back(self, num_bytes: int) -> None:
        """Give back what was taken."""
        self.num_taken -= num_bytes


@dataclass(slots=True)
class _Upload:
    assembly: Assembly
    taken_bytes: int
    touched_s: float


class Uploads:
    """The unfinished uploads of one session. One that does not go on for a minute is forgotten when another goes on."""

    def __init__(self, room: UploadRoom, *, max_bytes: int) -> None:
        """Bound each upload by `max_bytes`, and all by the room."""
        self._room = room
        self._max_bytes = max_bytes
        self._open: dict[Hashable, _Upload] = {}

    def add(self, key: Hashable, content_hash: str, chunk: Chunk, *, now_s: float) -> bytes | None:
        """Take the next chunk of the upload `key`; after an error the upload is forgotten.

        Returns:
            The whole with the last chunk; None before.

        Raises:
            BadTransfer: see `Assembly.add`.
            RequestError: `upload-too-many` or `upload-no-room`.
        """
        self._forget_idle(now_s)
        upload = self._open.get(key) or self._begin(key, content_hash, chunk.total)
        upload.touched_s = now_s
        try:
            self._room.take(len(chunk.data))
            upload.taken_bytes += len(chunk.data)
            whole = upload.assembly.add(chunk)
        except (BadTransfer, RequestError):
            self._forget(key)
            raise
        if whole is not None:
            self._forget(key)
        return whole

    def close(self) -> None:
        """Forget all of them."""
        for key in tuple(self._open):
            self._forget(key)

    def _begin(self, key: Hashable, content_hash: str, total: int) -> _Upload:
        if len(self._open) >= MAX_OPEN:
            raise RequestError(
                "upload-too-many",
                f"{len(self._open)} uploads of this session are unfinished",
                remedy="Finish one before the next.",
            )
        upload = self._open[key] = _Upload(Assembly(content_hash, total, max_bytes=self._max_bytes), 0, 0.0)
        return upload

    def _forget(self, key: Hashable) -> None:
        self._room.give_back(self._open.pop(key).taken_bytes)

    def _forget_idle(self, now_s: float) -> None:
        for key, upload in tuple(self._open.items()):
            if now_s - upload.touched_s > IDLE_S:
                self._forget(key)
