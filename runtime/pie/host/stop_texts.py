"""Stop texts as programs give them: how many there may be, and how long each."""

from __future__ import annotations

from pie.errors import RequestError

__all__ = ["checked_stop_texts"]

_MAX_STOP_TEXTS, _MAX_STOP_LENGTH = 64, 1024


def checked_stop_texts(texts: list[str]) -> list[str]:
    """The texts, if they are within bounds.

    Raises:
        RequestError: `bad-request`.
    """
    if len(texts) > _MAX_STOP_TEXTS or not all(0 < len(text) <= _MAX_STOP_LENGTH for text in texts):
        raise RequestError(
            "bad-request",
            f"the {len(texts)} stop texts have {min(map(len, texts))} to {max(map(len, texts))} characters",
            remedy=f"Give at most {_MAX_STOP_TEXTS} of 1 to {_MAX_STOP_LENGTH} characters each.",
        )
    return texts
