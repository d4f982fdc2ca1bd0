"""pie:core/scheduling: what pages cost, and the credits of the process; published every fifth step."""

from __future__ import annotations

from pie.host.context import Context
from pie.host.interface import Interface
from pie.host.model import Model
from pie.host.state import state_of
from pie.wasm.guest import Guest

__all__ = ["INTERFACE"]

INTERFACE = Interface("pie:core/scheduling")


@INTERFACE.function("price")
def price(_guest: Guest) -> float:
    """Credits for a new page: one, by the definition of a credit."""
    return 1.0


@INTERFACE.function("rent")
def rent(_guest: Guest, context: Context) -> float:
    """Credits that each page was charged in the last step; 0 while there is room for everybody."""
    return context.served.scheduler.owners.rent


@INTERFACE.function("dividend")
def dividend(guest: Guest, model: Model) -> float:
    """Credits this process was given in the last step."""
    return model.served.scheduler.owners.dividend(state_of(guest).process_id)


@INTERFACE.function("latency")
def latency(_guest: Guest, context: Context) -> float:
    """Smoothed wall time of a step, in seconds; 0 before the first."""
    return context.served.scheduler.stats().step_s or 0.0


@INTERFACE.function("balance")
def balance(guest: Guest, model: Model) -> float:
    """Credits of this process; an endowment of 64 at its start."""
    return model.served.scheduler.owners.balance(state_of(guest).process_id)
