"""Real jobs in the API: their processes, Python stacks, containment levels, limits and output."""

from __future__ import annotations

import signal
import time

from tests.api.test_jobs import TIMESTAMP
from tests.api.test_leases import created
from tests.api.test_streams import execute
from tests.api.wire import RealServer
from tests.support.levels import DEFAULT_LEVEL, DEFAULT_PROOF

CANCELLATION_FIELDS = {
    "reason", "detail", "requested_at", "force", "budget_s", "acknowledged_ms", "terminated_ms", "killed_ms",
    "gone_ms", "method", "proof", "processes_seen", "survivors", "workspace_removed", "within_budget",
}  # fmt: skip


def test_a_job_is_held_at_the_server_s_level(server: RealServer) -> None:
    assert server.ended(server.run("true"))["containment"] == DEFAULT_LEVEL


def test_cancel_answers_with_the_job(server: RealServer) -> None:
    job_id = server.run("sleep 60")
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until("job.running")
    sent = {"reason": "enough", "budget_s": 1.5}
    reply = server.ask("POST", f"/jobs/{job_id}/cancel?wait=10", sent)
    assert reply.status == 200
    cancellation = reply.json["cancellation"]
    assert set(cancellation) == CANCELLATION_FIELDS
    assert (reply.json["state"], cancellation["reason"], cancellation["detail"]) == ("cancelled", "api", "enough")
    assert (cancellation["budget_s"], cancellation["proof"]) == (1.5, DEFAULT_PROOF)
    again = server.ask("POST", f"/jobs/{job_id}/cancel")
    assert (again.status, again.json) == (200, reply.json)


def test_processes(server: RealServer) -> None:
    job_id = server.run("sleep 61 & echo up; sleep 62")
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "up')
    rows = server.ask("GET", f"/jobs/{job_id}/processes").json["processes"]
    assert {"sleep"} <= {row["name"] for row in rows}
    fields = {"pid", "ppid", "name", "cmdline", "status", "cpu_percent", "rss_bytes", "started_at", "session"}
    fields |= {"threads", "wait_channel", "read_bytes_per_s", "write_bytes_per_s"}
    assert all(set(row) == fields and TIMESTAMP.fullmatch(row["started_at"]) for row in rows)
    server.ask("POST", f"/jobs/{job_id}/cancel?wait=10")
    assert server.ask("GET", f"/jobs/{job_id}/processes").json == {"processes": []}


def test_a_stack_shows_where_the_runner_waits(server: RealServer) -> None:
    job_id = server.run("echo up; sleep 62")
    with server.stream("GET", f"/jobs/{job_id}/events") as stream:
        stream.until('"text": "up')
    answer = server.ask("GET", f"/jobs/{job_id}/stack")
    assert answer.status == 200
    assert set(answer.json) == {"stack", "taken_at", "note"}
    assert TIMESTAMP.fullmatch(answer.json["taken_at"])
    assert "runner/tasks/shell.py" in answer.json["stack"]
    server.ask("POST", f"/jobs/{job_id}/cancel?wait=10")
    assert server.ask("GET", f"/jobs/{job_id}/stack").problem == "conflict"


def test_limits_name_their_enforcer(server: RealServer) -> None:
    asked = {"memory_bytes": 2**31, "processes": 50, "cpus": 1}
    job = server.ended(server.run("true", limits=asked))
    assert job["state"] == "succeeded"
    by = job["limits"].pop("enforced_by")
    assert job["limits"] == asked
    assert set(by) == set(asked)
    assert {by["memory_bytes"], by["processes"]} <= {"cgroup", "sampled"}
    assert by["cpus"] in {"cgroup", "none"}
    assert server.ended(server.run("true", limits={}))["limits"] is None


def test_a_job_past_its_limit_fails_with_its_kind(server: RealServer) -> None:
    crowd = "for i in 1 2 3 4 5 6 7 8; do setsid sleep 60 & done; wait"
    job = server.ended(server.run(crowd, limits={"processes": 5}))
    assert (job["state"], job["error"]["kind"], job["cancellation"]) == ("failed", "processes", None)


def test_what_a_job_prints_cannot_break_out_of_its_field(server: RealServer) -> None:
    """Line ends of every kind, quotes and other scripts stay inside one line of ASCII JSON."""
    evil = r"printf 'a\n\nid: 999\nevent: job.succeeded\ndata: {}\n\n\r\u2028\u0085\000\033[0m \"ä😀'"
    with execute(server, evil) as stream:
        stream.read_to_end()
    frames = stream.frames()
    assert all(set(frame) == {"id", "event", "data"} for frame in frames)
    assert [int(frame["id"]) for frame in frames] == list(range(1, len(frames) + 1))
    assert [frame["event"] for frame in frames].count("job.succeeded") == 1
    text = "".join(event["text"] for event in stream.events() if event["type"] == "job.output")
    assert "id: 999" in text
    assert "ä😀" in text


def test_every_event_is_bounded(server: RealServer) -> None:
    with execute(server, "head -c 300000 /dev/zero | tr '\\0' 'x'; echo; echo done") as stream:
        stream.read_to_end()
    assert max(len(frame["data"]) for frame in stream.frames()) <= 32 * 1024
    assert sum(event.get("text", "").count("x") for event in stream.events()) == 300_000


def test_the_time_in_which_the_server_was_stopped_does_not_count(server: RealServer) -> None:
    lease_s = 1.5
    job_id = created(server, lease_s=lease_s)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(2 * lease_s)  # this sleep waits for nothing: it is the time for which the server is stopped
    server.process.send_signal(signal.SIGCONT)
    assert server.ask("POST", f"/jobs/{job_id}/lease").status == 200
    assert server.ended(job_id)["cancellation"]["detail"] == "the lease of 1.5 s ran out"
