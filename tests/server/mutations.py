"""Real messages with a few bytes overwritten, taken out or put in."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pie_client.messages import ClientMessage, encode

__all__ = ["mutated"]


def mutated(messages: Sequence[ClientMessage], draw: random.Random) -> bytes:
    """The frame of one of the messages, changed in one or two places."""
    frame = bytearray(encode(draw.choice(messages)))
    for _ in range(draw.randint(1, 2)):
        place = draw.randrange(len(frame))
        match draw.randrange(4):
            case 0 | 1:
                frame[place] ^= 1 << draw.randrange(8)
            case 2:
                del frame[place : place + draw.randint(1, 5)]
                frame = frame or bytearray(b"\0")
            case _:
                frame[place:place] = draw.randbytes(draw.randint(1, 5))
    return bytes(frame)
