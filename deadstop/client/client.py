"""The server's calls as methods that take and return the server's own JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from deadstop.client.address import Address
from deadstop.client.errors import Rejected, Unreachable
from deadstop.client.events import Event
from deadstop.client.follow import follow, resume_request
from deadstop.client.submission import Submission
from deadstop.client.transport import ATTACHED_SILENCE_LIMIT_S, Request, Transport

Json = Any

PAGE = 500
MAX_CANCEL_WAIT_S = 30.0
NOT_READY_PATIENCE_S = 15.0
"""How long a submit is repeated that the server rejects because it is still starting."""


class JsonClient:
    """One server. Methods raise Unreachable if nothing answers, and Rejected if the server answers with an error.

    Use as an asynchronous context manager.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._transport = Transport(address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, exc, trace)

    async def tasks(self) -> list[dict[str, Json]]:
        tasks: list[dict[str, Json]] = (await self._get("/tasks"))["tasks"]
        return tasks

    async def health(self) -> dict[str, Json]:
        return await self._get("/health")

    async def jobs(self, *, state: str | None = None, label: str | None = None) -> list[dict[str, Json]]:
        """Return all jobs in one of the states (with commas between them) and with the label, newest first."""
        jobs: list[dict[str, Json]] = []
        cursor: str | None = None
        while True:
            page = await self.jobs_page(state=state, label=label, cursor=cursor)
            jobs += page["jobs"]
            cursor = page.get("next_cursor")
            if cursor is None:
                return jobs

    async def jobs_page(
        self, *, state: str | None = None, label: str | None = None, cursor: str | None = None
    ) -> dict[str, Json]:
        """Return at most PAGE jobs, and as `next_cursor` where the next page begins."""
        return await self._get("/jobs", limit=str(PAGE), state=state, label=label, cursor=cursor)

    async def job(self, job_id: str) -> dict[str, Json]:
        return await self._get(f"/jobs/{job_id}")

    async def processes(self, job_id: str) -> dict[str, Json]:
        return await self._get(f"/jobs/{job_id}/processes")

    async def stack(self, job_id: str) -> dict[str, Json]:
        return await self._get(f"/jobs/{job_id}/stack")

    async def submit(self, submission: Submission) -> dict[str, Json]:
        """Create a job that does not depend on us, and return it."""
        request = Request("POST", "/jobs", submission.body())
        patience = _Patience(lambda _line: None)
        while True:
            try:
                job: dict[str, Json] = await self._transport.ask(request)
                return job
            except Rejected as exc:
                await patience.pause(exc)

    async def cancel(
        self, job_id: str, *, reason: str | None = None, force: bool = False, wait_s: float = 0.0
    ) -> dict[str, Json]:
        """Ask the server to cancel a job, and return the job as it is then, or when it has ended within `wait_s`."""
        body = ({"reason": reason} if reason else {}) | ({"force": True} if force else {})
        params = (("wait", f"{min(wait_s, MAX_CANCEL_WAIT_S):g}"),) if wait_s else ()
        request = Request("POST", f"/jobs/{job_id}/cancel", body, params=params)
        job: dict[str, Json] = await self._transport.ask(request, wait_s=wait_s)
        return job

    async def past_events(self, job_id: str, *, after: int = 0) -> list[Event]:
        """Return the events that there are now."""
        headers = (("Accept", "application/json"),)
        request = Request("GET", f"/jobs/{job_id}/events", headers=headers, params=(("after", str(after)),))
        answer = await self._transport.ask(request)
        return [Event(str(data.get("type")), data.get("id"), data) for data in answer["events"]]

    def events(self, job_id: str, *, after: int = 0, on_cut: Callable[[str], None]) -> AsyncGenerator[Event]:
        """Yield a job's events to its end, across cuts; see `follow`. Leaving them does not stop the job."""
        return follow(self._transport, job_id, resume_request(job_id, after), after=after, on_cut=on_cut)

    async def stream(
        self,
        submission: Submission,
        *,
        on_cut: Callable[[str], None],
        skip_to: Callable[[], int] = lambda: 0,
    ) -> AsyncGenerator[Event]:
        """Create a job and yield its events up to the terminal one; see `follow`. Leaving them cancels the job.

        Raise Unreachable if the events end although the job has not.
        """
        patience = _Patience(on_cut)
        while True:
            try:
                async with aclosing(self._attach(submission, on_cut, skip_to)) as events:
                    async for event in events:
                        yield event
                        if event.terminal:
                            return
                break
            except Rejected as exc:
                await patience.pause(exc)
        yield await self._end(submission.id)

    def _attach(
        self, submission: Submission, on_cut: Callable[[str], None], skip_to: Callable[[], int]
    ) -> AsyncGenerator[Event]:
        opening = Request(
            "POST",
            "/execute/stream",
            submission.body(),
            headers=(("Accept", "text/event-stream"),),
            silence_limit_s=ATTACHED_SILENCE_LIMIT_S,
        )
        return follow(self._transport, submission.id, opening, attached=True, on_cut=on_cut, skip_to=skip_to)

    async def _end(self, job_id: str) -> Event:
        """Return the terminal event of a job whose stream ended without one."""
        job = await self.job(job_id)
        type_, fields = f"job.{job['state']}", ("result", "error", "cancellation")
        data = {"id": None, "job_id": job_id, "type": type_, "at": job.get("finished_at")}
        event = Event(type_, None, data | {name: job[name] for name in fields if job.get(name) is not None})
        if not event.terminal:
            raise Unreachable(f"the stream of job {job_id} ended while the job is {job['state']}")
        return event

    async def _get(self, path: str, **params: str | None) -> dict[str, Json]:
        given = tuple((name, value) for name, value in params.items() if value is not None)
        answer: dict[str, Json] = await self._transport.ask(Request("GET", path, params=given))
        return answer


class _Patience:
    """Waits before a submit is repeated that a server rejects with 503 while it is not ready."""

    def __init__(self, on_wait: Callable[[str], None]) -> None:
        self._on_wait = on_wait
        self._waited_s = 0.0

    async def pause(self, exc: Rejected) -> None:
        """Raise `exc` if it has another reason, or after NOT_READY_PATIENCE_S."""
        pause_s = max(0.2, exc.retry_after_s or 0.0)
        if exc.status != 503 or exc.retry_after_s is None or self._waited_s + pause_s > NOT_READY_PATIENCE_S:
            raise exc
        if not self._waited_s:
            self._on_wait(f"{exc}; waiting")
        await asyncio.sleep(pause_s)
        self._waited_s += pause_s
