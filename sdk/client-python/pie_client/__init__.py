"""A client of `pie serve`: programs are uploaded, launched, talked to, left and found again.

async with Client("ws://127.0.0.1:8080") as client:
    await client.authenticate("me")
    process = await client.launch_process("text-completion", {"prompt": "Hello"})
    async for event in process:
        print(event.kind, event.value)
"""

from pie_client.client import Client
from pie_client.errors import ClientError, ConnectionLost, ProcessFailed, Refused
from pie_client.keys import PrivateKey
from pie_client.logs import LogEvent
from pie_client.process import Event, Process, ProcessInfo

__all__ = [
    "Client",
    "ClientError",
    "ConnectionLost",
    "Event",
    "LogEvent",
    "PrivateKey",
    "Process",
    "ProcessFailed",
    "ProcessInfo",
    "Refused",
]
