"""A bare WebSocket server that sends every frame back: the least that a server of sessions can take.

`benches.sessions` starts it as a process of its own. It prints its port and runs until it is ended.
"""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection, serve

MAX_FRAME_BYTES = 4 << 20


async def answer(websocket: ServerConnection) -> None:
    async for frame in websocket:
        await websocket.send(frame)


async def main() -> None:
    async with serve(answer, "127.0.0.1", 0, compression=None, max_size=MAX_FRAME_BYTES) as server:
        (listening,) = server.sockets
        print(listening.getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
