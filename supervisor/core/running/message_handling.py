"""What a job's runner says, applied to the job: events for its log, inputs for its state machine.

The job itself can write to its runner's channel. So a message that does not fit is refused in the job's own log, and
nothing that comes after the first report changes the job any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from runner import protocol
from supervisor.core.jobs import machine
from supervisor.core.jobs.inputs import Emit, Input
from supervisor.core.jobs.registry import LiveJob
from supervisor.core.journal.journal import Journal
from supervisor.core.running import messages as frames

LEFT_OUT_FIRST = frozenset({"job.output", "job.log", "job.progress"})
"""What a reader can do without."""


class RunnerMessages:
    """Of one job. `apply` gives a fact to its state machine, `write_input` sends typed text to its runner."""

    def __init__(
        self,
        record: LiveJob,
        journal: Journal,
        *,
        runner_pid: int,
        apply: Callable[[Input], None],
        write_input: Callable[[protocol.StdinChunk], int],
        on_running: Callable[[], None],
    ) -> None:
        self._record = record
        self._journal = journal
        self._runner_pid = runner_pid
        self._apply = apply
        self._write_input = write_input
        self._on_running = on_running
        self._dropped = 0

    def take(self, frame: object) -> None:
        """Do what one message asks for."""
        record = self._record
        record.pulse.beat()
        match frame:
            case protocol.Heartbeat():
                return
            case protocol.Running():
                record.input.connect(self._write_input)
            case protocol.InputTaken(cost):
                record.input.taken(cost)
            case protocol.InputClosed():
                record.input.close("nothing in it reads its input any more")
            case protocol.PhaseChange() if record.reported is not None:
                return  # the phase stays cleanup
        record.pulse.task_spoke()
        emits, fact = frames.interpret(frame, self._runner_pid)
        job = frames.follow(record.job, frame)
        if job is not record.job:
            record.life = replace(record.life, job=job)
        for emit in emits:
            self._say(emit)
        if fact is not None and self._is_taken(fact) and isinstance(frame, protocol.Running):
            self._on_running()

    def _is_taken(self, fact: Input) -> bool:
        try:
            self._apply(fact)
        except machine.RefusedTransition as exc:
            # The job wrote this, not our runner: a runner begins and reports once.
            fields = {"level": "warning", "message": "a frame of this job was refused", "fields": {"reason": str(exc)}}
            self._say(Emit("job.log", fields))
            return False
        return True

    def _say(self, emit: Emit) -> None:
        """Append an event to the job's log. When the journal cannot keep up, output is left out before it gets a
        number, and the log says how much."""
        if emit.type in LEFT_OUT_FIRST and self._journal.congested:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            message = f"{dropped} events were left out: they came faster than they could be written"
            self._record.log.append("job.log", {"level": "warning", "message": message, "fields": {"dropped": dropped}})
        self._record.log.append(emit.type, emit.fields)
