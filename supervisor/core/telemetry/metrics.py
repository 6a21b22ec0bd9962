"""Metrics for Prometheus. Labels never contain a job's ID, only exemplars do.

Events are counted when they happen; states are looked up when the metrics are requested. Each server has a registry of
its own, so that two servers in one process do not mix.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from supervisor.core.jobs.inputs import Bound, CancelRequested, Input
from supervisor.core.jobs.model import Job, Rule, State
from supervisor.core.jobs.registry import LiveJob, Registry
from supervisor.engine.containment import Proof
from supervisor.engine.report import Began, Ended, ResourceKind, Unproven

START_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WAIT_BUCKETS_S = (0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
CANCEL_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 5.0, 10.0, 30.0, 60.0)
"""One bound is 2.0, the guaranteed time."""
RESOURCE_KINDS: tuple[ResourceKind, ...] = ("terminal", "browser", "file", "directory", "process")

disable_created_metrics()  # type: ignore[no-untyped-call]  # a timestamp beside every counter doubles their number and tells nobody anything


class Metrics:
    """The metrics of one server. Only for use on the event loop."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        count = partial(Counter, registry=self.registry)
        seconds = partial(Histogram, registry=self.registry)
        self._finished = count("deadstop_jobs_finished", "Jobs that came to an end.", ["task", "state"])
        self._start_s = seconds(
            "deadstop_job_start_seconds", "From a job's slot to its task running.", buckets=START_BUCKETS_S
        )
        self._wait_s = seconds(
            "deadstop_queue_wait_seconds", "From a job's creation to its slot.", buckets=WAIT_BUCKETS_S
        )
        self._requests = count(
            "deadstop_cancel_requests", "First causes to stop a job, by what it was doing.", ["reason", "phase"]
        )
        self._cancellations = count(
            "deadstop_cancellations",
            "Stops by how they went: proven in the budget, proven late, or survivors named.",
            ["method", "result"],
        )
        self._cancel_s = seconds(
            "deadstop_cancel_duration_seconds",
            "From detection to proof, of jobs that had been started.",
            buckets=CANCEL_BUCKETS_S,
        )
        self._disconnects = count("deadstop_disconnect_detected", "Streams that left a job before its end.", ["cause"])
        self._orphans = count(
            "deadstop_orphans_found",
            "Processes found without a parent: left behind by a finished task, a dead guardian or an earlier server.",
        )
        self._dropped = count("deadstop_events_dropped", "Events that a reader of all jobs' events was too slow for.")
        late = "The longest time of late that the event loop was busy."
        self.lag_s = Gauge("deadstop_event_loop_lag_seconds", late, registry=self.registry)
        for cause in ("closed", "vanished"):
            self._disconnects.labels(cause)

    def watch(self, look: Callable[[], Iterable[Metric]]) -> None:
        """Call `look` for further metrics whenever the metrics are requested."""
        self.registry.register(_Now(look))

    # --- events

    def fact(self, record: LiveJob, before: Job, fact: Input) -> None:
        """Count an input that a job has accepted. `before` is the job as it was."""
        job, pulse = record.job, record.pulse
        match fact:
            case Bound() if pulse.admitted_at is not None:
                self._wait_s.observe(pulse.admitted_at - pulse.born_at)
            case Began() if job.state is State.RUNNING and before.state is State.STARTING:
                self._start_s.observe(pulse.now() - (pulse.admitted_at or pulse.born_at))
            case CancelRequested(cause, _) if before.cancellation is None and job.cancellation is not None:
                self._requests.labels(cause.reason, before.phase or before.state).inc()
            case Unproven() if before.cancellation is not None and before.cancellation.within_budget is None:
                self._cancellations.labels("sigkill", "survivors").inc()
            case Ended(proof=proof, leftovers=leftovers, processes_seen=seen):
                self._orphans.inc(leftovers + (seen if proof is Proof.ADOPTED_REAPED else 0))
            case _:
                pass
        if job.state.terminal and not before.state.terminal:
            self._ended(job, before)

    def _ended(self, job: Job, before: Job) -> None:
        self._finished.labels(job.request.task, job.state).inc()
        record = job.cancellation
        if record is None or record.method is None:
            return
        told_before = before.cancellation is not None and before.cancellation.within_budget is False
        if not told_before:
            self._cancellations.labels(record.method, "proven" if record.within_budget else "late").inc()
        if record.proof is not Proof.NEVER_STARTED and record.gone_ms is not None:
            self._cancel_s.observe(record.gone_ms / 1000, exemplar={"job_id": job.id})

    def orphans_found(self, count: int) -> None:
        """Count processes of an earlier server that were killed at the start."""
        self._orphans.inc(count)

    def disconnected(self, *, vanished: bool) -> None:
        """Count a stream that left before its job's end. `vanished` means that its client disappeared silently."""
        self._disconnects.labels("vanished" if vanished else "closed").inc()

    def dropped(self, count: int) -> None:
        self._dropped.inc(count)


class _Now(Collector):
    """Metrics that are looked up when they are requested."""

    def __init__(self, look: Callable[[], Iterable[Metric]]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        return self._look()

    def describe(self) -> Iterable[Metric]:
        return ()  # without this the registry would call `collect` for the names, before the server is complete


def gauges_of(registry: Registry, ready_workers: int) -> Iterator[Metric]:
    """Yield gauges of the jobs, their resources, and the workers that wait for them."""
    yield _by("deadstop_jobs", "Jobs that the server knows.", "state", State, registry.counts())
    yield from gauges_of_jobs(registry)
    yield gauge("deadstop_warm_guardians", "Workers that are ready for a job.", ready_workers)


def gauges_of_jobs(records: Iterable[LiveJob]) -> Iterator[Metric]:
    """Yield gauges of unfinished jobs: their resources, stuck jobs, and surviving processes."""
    kinds, rules, survivors = Tally[str](), Tally[str](), 0
    for record in records:
        kinds.update(resource.kind for resource in record.job.resources if resource.held)
        if record.stuck is not None:
            rules[record.stuck.rule] += 1
        if record.job.state is State.CANCELLING and record.job.cancellation is not None:
            survivors += len(record.job.cancellation.survivors)
    yield _by("deadstop_resources_open", "What running tasks hold.", "kind", RESOURCE_KINDS, kinds)
    yield _by("deadstop_stuck_jobs", "Jobs that give no sign of life, or will not go.", "rule", Rule, rules)
    yield gauge("deadstop_survivors", "Processes of cancelled jobs that would not go.", survivors)


def _by(name: str, about: str, label: str, values: Iterable[str], tally: Mapping[Any, int]) -> Metric:
    """Return a gauge with every value of its label, so that a zero differs from a name that does not exist."""
    family = GaugeMetricFamily(name, about, labels=[label])
    for value in values:
        family.add_metric([value], tally.get(value, 0))
    return family


def gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=value)
