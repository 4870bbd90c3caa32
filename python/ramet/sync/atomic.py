"""Integers that goroutines and OS threads change together."""

from .._core import AtomicLong

__all__ = ["AtomicLong"]
