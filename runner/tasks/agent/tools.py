"""The tools of an agent: commands in a terminal, files of its folder, pages in a browser.

A tool never raises because of the model's mistake: it answers with the reason, so that the model can try again.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import stat
from collections.abc import Callable
from pathlib import Path

from runner.browser import Browser
from runner.context import Context
from runner.errors import JobCancelled, TaskFailed
from runner.tasks.agent.commands import Command
from runner.tasks.browse import WEB_ADDRESS
from runner.text import shown

COMMAND_S = 120.0
MAX_ANSWER = 16_000
"""The most characters of a command's output, a file or a page that the model gets."""
MAX_LISTED = 500


class Tools:
    """The tools of one job. `root` is the folder of its files. An async context manager, because a browser may be
    open.
    """

    def __init__(self, ctx: Context, root: Path) -> None:
        self._ctx = ctx
        self._root = Path(root).resolve()
        self._open = contextlib.AsyncExitStack()
        self._browser: Browser | None = None
        self._starting_browser = asyncio.Lock()
        self.written: set[str] = set()
        """The paths of the files that were written."""

    async def __aenter__(self) -> Tools:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    @property
    def functions(self) -> list[Callable[..., object]]:
        return [self.run_command, self.read_file, self.write_file, self.list_files, self.open_page]

    async def run_command(self, command: str, timeout_s: float = COMMAND_S) -> str:
        """Run a shell command in a terminal, in the working folder, and answer with what it wrote and how it ended.

        Its stdin is empty. What it starts in the background, such as a server, runs on.
        """
        made = Command(self._ctx, self._root, command, timeout_s)
        try:
            return _shortened(await _in_thread(made.run))
        except asyncio.CancelledError:
            # The answer is not needed any more, but the thread would go on waiting for the command.
            made.end(asyncio.get_running_loop())
            raise

    async def read_file(self, path: str) -> str:
        """Read a text file of the working folder; of a long one, its beginning."""
        return await _in_thread(lambda: self._read(path))

    def _read(self, path: str) -> str:
        try:
            target = self._inside(path)
            if target.exists() and not stat.S_ISREG(target.stat().st_mode):
                return f"cannot read {path}: it is not a file"  # reading a pipe could block for ever
            with target.open(encoding="utf-8", errors="replace") as file:
                text = file.read(MAX_ANSWER + 1)
        except OSError as exc:
            return f"cannot read {path}: {exc.strerror}"
        if len(text) <= MAX_ANSWER:
            return text
        size = target.stat().st_size
        return f"{text[:MAX_ANSWER]}\n(… the file goes on: these are {MAX_ANSWER} characters of {size} bytes …)"

    async def write_file(self, path: str, content: str) -> str:
        """Write a text file of the working folder, whole; folders on the way are made."""
        return await _in_thread(lambda: self._write(path, content))

    def _write(self, path: str, content: str) -> str:
        try:
            target = self._inside(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._ctx.open_atomic(target) as file:
                file.write(content)
        except OSError as exc:
            return f"cannot write {path}: {exc.strerror}"
        self.written.add(str(target.relative_to(self._root)))
        return f"wrote {path}, {len(content)} characters"

    async def list_files(self, folder: str = ".") -> str:
        """List the files below a folder of the working folder."""
        return await _in_thread(lambda: self._list(folder))

    def _list(self, folder: str) -> str:
        found: list[str] = []
        try:
            # rglob does not follow links into folders, so it stays inside.
            for path in self._inside(folder).rglob("*"):
                if path.is_file() and ".git" not in path.parts:
                    found.append(str(path.relative_to(self._root)))
                if len(found) > MAX_LISTED:
                    return "\n".join([*found[:MAX_LISTED], f"(more than {MAX_LISTED} files)"])
        except OSError as exc:
            return f"cannot list {folder}: {exc.strerror}"
        return "\n".join(sorted(found)) or "(no files)"

    async def open_page(self, url: str) -> str:
        """Open a web page in a browser and answer with its title and text."""
        if not re.match(WEB_ADDRESS, url):
            return f"cannot open {url}: not a web address such as https://example.com"
        try:
            async with self._starting_browser:
                if self._browser is None:
                    self._browser = await self._open.enter_async_context(self._ctx.browser())
            visit = await self._browser.open(url)
            try:
                text = await self._browser.text(visit.page)
            finally:
                await self._browser.close(visit.page)
        except TaskFailed as exc:
            return shown(exc.message)
        return shown(_shortened(f"{visit.title}\n{visit.url} (HTTP {visit.status})\n\n{text}"))

    def _inside(self, path: str) -> Path:
        """Return the absolute path. Raise PermissionError if it is outside of the folder, by `..` or by a link."""
        try:
            target = (self._root / path).resolve()
        except (ValueError, RuntimeError) as exc:  # a NUL, a loop of links
            raise PermissionError(13, str(exc)) from None
        if not target.is_relative_to(self._root):
            raise PermissionError(13, "it is outside of the working folder")
        return target


async def _in_thread(function: Callable[[], str]) -> str:
    """Run a function beside the loop, which must see a cancel request meanwhile. A command sees the request itself."""
    try:
        return shown(await asyncio.to_thread(function))
    except JobCancelled:
        # The thread has seen the request first. This task is cancelled in a moment.
        await asyncio.Event().wait()
        raise


def _shortened(text: str) -> str:
    if len(text) <= MAX_ANSWER:
        return text
    half = MAX_ANSWER // 2
    return f"{text[:half]}\n(… {len(text) - MAX_ANSWER} characters left out …)\n{text[-half:]}"
