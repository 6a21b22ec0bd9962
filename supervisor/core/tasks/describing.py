"""Describe the task modules, each in a child, once at the start of the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from supervisor.core.tasks.catalog import Catalog
from supervisor.engine.order import ModuleDescription

AGAIN_S = 2.0
"""Pause after a description that failed by an internal error."""

log = structlog.get_logger()


async def describe_all(catalog: Catalog, describe: Callable[[str], Awaitable[ModuleDescription]]) -> None:
    """Describe all pending modules, and then wait for ever."""
    await asyncio.gather(*(_describe(catalog, module, describe) for module in catalog.pending))
    for module, why in catalog.errors.items():
        log.error("task_module_broken", module=module, error=why, traceback=catalog.tracebacks.get(module))
    await asyncio.Event().wait()


async def _describe(catalog: Catalog, module: str, describe: Callable[[str], Awaitable[ModuleDescription]]) -> None:
    while module in catalog.pending:
        try:
            catalog.add(await describe(module))
        except Exception as exc:
            log.error("module_not_described", module=module, error=f"{type(exc).__name__}: {exc}")
            await asyncio.sleep(AGAIN_S)
