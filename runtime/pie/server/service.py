"""What all connections share: programs, processes, the door, and whether the server still takes new work."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field

from pie.errors import ProcessError
from pie.runtime import Runtime
from pie.server.adapter_loads import AdapterLoads
from pie.server.answering import Answering
from pie.server.auth import Doorkeeper
from pie.server.daemons import Daemons
from pie.server.limits import Accounts, Limiter
from pie.server.pools.pools import Pools
from pie.server.processes import ProcessTable
from pie.server.programs import InstalledPrograms
from pie.server.session import Session
from pie.server.settings import ServerSettings
from pie.server.uploads import UploadRoom, Uploads
from pie.server.users import Holder

__all__ = ["Service"]

UPLOAD_ROOM = 4
"""Unfinished uploads of all sessions together, in largest uploads."""


@dataclass(slots=True, eq=False)
class Service:
    """One server's parts.

    Attributes:
        runtime: runs the processes.
        programs: what may be launched.
        processes: what was launched.
        daemons: what answers HTTP requests.
        doorkeeper: who may come in.
        settings: bounds.
        url: where clients connect.
        num_sessions: connections now.
        is_starting: whether what programs run in is still being made.
        is_draining: whether nothing new is launched any more.
        answerings: what answers at paths of the server's own port.
        limiter: what users have used of their limits.
        server_id: tells this server from others, and from itself when it is started again.
        pools: parts of the machine by names.
        adapter_loads: adapters that clients wait for.
        upload_room: memory for unfinished uploads.
    """

    runtime: Runtime
    programs: InstalledPrograms
    processes: ProcessTable
    daemons: Daemons
    doorkeeper: Doorkeeper
    settings: ServerSettings
    url: str = ""
    num_sessions: int = 0
    is_starting: bool = False
    is_draining: bool = False
    answerings: list[Answering] = field(default_factory=list)
    limiter: Limiter = field(default_factory=Limiter)
    server_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    pools: Pools = field(default_factory=Pools)
    adapter_loads: AdapterLoads = field(default_factory=AdapterLoads)
    upload_room: UploadRoom = field(init=False)

    def __post_init__(self) -> None:
        """Set room aside for uploads."""
        self.upload_room = UploadRoom(UPLOAD_ROOM * self.settings.max_upload_bytes)

    @property
    def is_ready(self) -> bool:
        """Whether new work is taken, and done."""
        return not self.why_not_ready()

    def why_not_ready(self) -> str:
        """Why no new work is taken, or none is done; empty if nothing is wrong."""
        busy_s = self.runtime.busy_s
        if self.is_draining:
            return "the server is about to stop"
        if loading := self.runtime.models.loading:
            return f"model {loading[0]} is loading"
        if not self.runtime.models:
            return "no model could be loaded"
        if self.is_starting:
            return "what programs run in is being made"
        if not self.runtime.is_stepping:
            return "the part of the server that runs the model has failed"
        if busy_s > self.settings.stalled_s:
            return f"a step of the model has not ended for {busy_s:.0f} s"
        return ""

    def new_session(self) -> Session:
        """A session with nobody in it yet."""
        uploads = Uploads(self.upload_room, max_bytes=self.settings.max_upload_bytes)
        return Session(self.doorkeeper, uploads, clock=time.monotonic)

    async def retire(self) -> None:
        """End the programs that stay up at paths of the server's port, once they have answered what waits."""
        await asyncio.gather(*(answering.retire() for answering in self.answerings))

    async def close(self) -> None:
        """End the programs that stay up at paths of the server's port, and let adapters go."""
        self.adapter_loads.close()
        for answering in self.answerings:
            await answering.close()

    def accounts_of(self, holder: Holder) -> Accounts:
        """For whom a request counts: its user, and its token if that has limits of its own."""
        of_user, of_token = self.doorkeeper.limits_of(holder)
        accounts = {f"user {holder.user!r}": of_user.over(self.settings.limits)}
        if of_token.told():
            accounts[f"token {holder.token!r} of {holder.user!r}"] = of_token
        return accounts

    def check_open(self) -> None:
        """Raise unless new work is taken.

        Raises:
            ProcessError: `shutting-down`.
        """
        if self.is_draining:
            raise ProcessError(
                "shutting-down", "the server is about to stop", remedy="Try again when it has been started anew."
            )

    def check_room(self, user: str, num_launches: int) -> None:
        """Raise unless so many more processes of a user may run.

        Raises:
            ProcessError: `too-many-processes`.
        """
        self.processes.check_room(user, num_launches, settings=self.settings)
