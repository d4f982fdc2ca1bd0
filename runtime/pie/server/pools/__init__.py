"""Pools: names for a part of the machine, which requests are sent to."""
