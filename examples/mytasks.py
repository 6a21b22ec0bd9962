"""Tasks of one's own, four kinds of them. From this folder: ../run_api.sh serve --tasks mytasks

A module of tasks is imported in the processes of jobs only, never in the server.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import httpx
from pydantic import Field

from deadstop import Context, TaskFailed, task

AbsolutePath = Annotated[str, Field(pattern="^/", description="An absolute path on the server.")]
WebAddress = Annotated[str, Field(pattern=r"^https?://\S+$")]
CHUNK_BYTES = 1 << 20


@task
def word_count(ctx: Context, text: str, top: Annotated[int, Field(ge=1, le=100)] = 5) -> dict[str, Any]:
    """Count words. A plain function: its parameters are the fields of the input, what it returns is the result."""
    words = re.findall(r"\w+", text.lower())
    ctx.log("counted", words=len(words))
    return {"words": len(words), "most_common": dict(Counter(words).most_common(top))}


@task
async def check_links(
    ctx: Context, urls: Annotated[list[WebAddress], Field(min_length=1)], timeout_s: float = 5.0
) -> dict[str, str]:
    """Ask all addresses at once what they answer. Async: on cancel it gets CancelledError, and its client is closed."""

    async def ask(client: httpx.AsyncClient, url: str) -> str:
        try:
            answer = await client.get(url)
        except httpx.HTTPError as exc:
            return f"{type(exc).__name__}: {exc}"
        return f"{answer.status_code} {answer.reason_phrase}"

    ctx.phase("tool", f"asking {len(urls)} addresses")
    async with httpx.AsyncClient(timeout=timeout_s, follow_redirects=True, trust_env=False) as client:
        return dict(zip(urls, await asyncio.gather(*(ask(client, url) for url in urls)), strict=True))


@task
def archive(ctx: Context, folder: AbsolutePath) -> dict[str, Any]:
    """Pack a folder. Shells out: on cancel the command gets SIGTERM, and what remains of it goes with the job."""
    ctx.out.mkdir(exist_ok=True)
    target = ctx.out / "archive.tar.gz"
    with ctx.terminal(["tar", "-C", folder, "-czvf", str(target), "."], pty=False) as tar:
        tar.run().check()
    return {"file": "archive.tar.gz", "size_bytes": target.stat().st_size}


@task
def checksums(ctx: Context, folder: AbsolutePath, pattern: str = "*") -> dict[str, Any]:
    """SHA-256 of every file, with progress. The list appears complete or not at all."""
    if not Path(folder).is_dir():
        raise TaskFailed("raised", f"cannot read {folder}: no such folder")
    files = sorted(path for path in Path(folder).rglob(pattern) if path.is_file())
    ctx.out.mkdir(exist_ok=True)
    with ctx.open_atomic(ctx.out / "SHA256SUMS") as sums:
        for done, path in enumerate(files, 1):
            sums.write(f"{_sha256(ctx, path)}  {path.relative_to(folder)}\n")
            ctx.progress(done, len(files), path.name)
    return {"file": "SHA256SUMS", "files": len(files)}


def _sha256(ctx: Context, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            ctx.raise_if_cancelled()
            digest.update(chunk)
    return digest.hexdigest()
