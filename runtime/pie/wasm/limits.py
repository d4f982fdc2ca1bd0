"""What a guest may use, and the meter that counts it. Knows nothing of how a guest is driven."""

from __future__ import annotations

from dataclasses import dataclass

from pie.wasm.errors import CpuLimit, HostCallLimit, LimitReached

__all__ = ["Limits", "Meter"]

_NEVER = 1 << 63


@dataclass(frozen=True, slots=True)
class Limits:
    """What a guest may use; None is no limit.

    Attributes:
        memory_bytes: size of each linear memory.
        memories: how many linear memories, so that the total is bounded too.
        table_elements: size of each table.
        cpu_s: CPU of all calls together, in seconds.
        spin_s: CPU between two host calls, in seconds.
        host_calls: calls of host functions of all calls together.
        handles: live resource handles.
    """

    memory_bytes: int | None = None
    memories: int = 4
    table_elements: int = 200_000
    cpu_s: float | None = None
    spin_s: float | None = None
    host_calls: int | None = None
    handles: int = 10_000


class Meter:
    """What one guest has used.

    Attributes:
        cpu_ns: CPU spent in the guest, nanoseconds (on the loop thread: elapsed time of a slice, bounded).
        spin_ns: the part of it since the last host call, or since the guest was called.
        slices: how often the guest was interrupted because its time slice was over.
        spin_slices: the part of them since the last host call.
        host_calls: host functions called.
    """

    __slots__ = (
        "_cpu_limit_ns",
        "_host_call_limit",
        "_limits",
        "_spin_limit_ns",
        "cpu_ns",
        "host_calls",
        "slices",
        "spin_ns",
        "spin_slices",
    )

    def __init__(self, limits: Limits) -> None:
        """Start at zero under the given limits."""
        self._limits = limits
        self._cpu_limit_ns = _NEVER if limits.cpu_s is None else int(limits.cpu_s * 1e9)
        self._spin_limit_ns = _NEVER if limits.spin_s is None else int(limits.spin_s * 1e9)
        self._host_call_limit = _NEVER if limits.host_calls is None else limits.host_calls
        self.cpu_ns = self.spin_ns = self.slices = self.spin_slices = self.host_calls = 0

    def new_call(self) -> None:
        """The guest is called."""
        self.spin_ns = self.spin_slices = 0

    def renew(self) -> None:
        """What comes now has the limits for itself."""
        self.cpu_ns = self.host_calls = 0

    def host_call(self) -> None:
        """Count a host call; raises HostCallLimit if it is one too many."""
        self.host_calls += 1
        self.spin_ns = self.spin_slices = 0
        if self.host_calls > self._host_call_limit:
            raise HostCallLimit(self._host_call_limit)

    def slice_over(self) -> None:
        """Count an interruption."""
        self.slices += 1
        self.spin_slices += 1

    def spend(self, cpu_ns: int) -> LimitReached | None:
        """Count CPU time; returns the limit that it reached, if any."""
        self.cpu_ns += cpu_ns
        self.spin_ns += cpu_ns
        if self.cpu_ns > self._cpu_limit_ns:
            return CpuLimit(spent_s=self.cpu_ns / 1e9, limit_s=self._limits.cpu_s or 0.0, without_host_call=False)
        if self.spin_ns > self._spin_limit_ns:
            return CpuLimit(spent_s=self.spin_ns / 1e9, limit_s=self._limits.spin_s or 0.0, without_host_call=True)
        return None
