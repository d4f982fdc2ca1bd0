"""What this machine is, in the words of clients of SIE: one worker, with one device."""

from __future__ import annotations

__all__ = ["BUNDLE", "PROFILE"]

PROFILE = "cpu"
"""The kind of device that models are computed on."""

BUNDLE = "default"
"""A server has one set of models."""
