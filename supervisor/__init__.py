"""Deadstop's server side. Importing this package imports nothing else: children are forked with it."""

from __future__ import annotations

__version__ = "0.1.0"
