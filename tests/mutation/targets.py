"""Which modules are changed, which tests must notice, and the changes that none can notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """`module` is the end of a path, so that a file may move with its folder; `tests` are those that must notice.

    `light`: they need nothing of tests/conftest.py, which takes longer to import than they take.
    """

    module: str
    tests: tuple[str, ...]
    light: bool = True

    @property
    def name(self) -> str:
        """How it is called on the command line."""
        return Path(self.module).stem if Path(self.module).stem != "protocol" else self.module.removesuffix(".py")

    def found(self, root: Path) -> Path:
        """Return the path of the module. Raise LookupError if there is no such file, or more than one."""
        paths = [path for top in ("supervisor", "runner") for path in root.glob(f"{top}/**/*.py")]
        files = [path for path in paths if path.as_posix().endswith(f"/{self.module}")]
        if len(files) != 1:
            raise LookupError(f"{self.module}: found {[str(file) for file in files]}; mend tests/mutation/targets.py")
        return files[0].relative_to(root)


TARGETS = (
    Target("core/jobs/machine.py", ("tests/unit/test_machine.py", "tests/unit/test_machine_records.py")),
    Target("guardian/ladder.py", ("tests/unit/test_ladder.py", "tests/unit/test_ladder_values.py")),
    Target("guardian/sweep_pacing.py", ("tests/unit/test_rounds.py",)),
    Target("node/levels/enforcement.py", ("tests/unit/test_limit_watch.py",)),
    Target("guardian/limits.py", ("tests/unit/test_limit_values.py", "tests/unit/test_limit_watch.py")),
    Target("core/running/queue.py", ("tests/unit/test_admission.py",)),
    Target("supervisor/tokens.py", ("tests/unit/test_tokens.py",)),
    Target(
        "runner/codec.py",
        ("tests/unit/test_protocol.py", "tests/unit/test_codec_values.py", "tests/unit/test_reading.py"),
    ),
    Target("guardian/protocol.py", ("tests/unit/test_protocol.py",)),
    Target("journal/batch.py", ("tests/unit/test_batch.py",)),
    Target("journal/tables.py", ("tests/unit/test_journal.py", "tests/unit/test_journal_disk.py"), light=False),
    Target(
        "journal/writer.py",
        ("tests/unit/test_journal.py", "tests/unit/test_journal_disk.py", "tests/process/test_power_cut.py"),
        light=False,
    ),
    Target(
        "guardian/sweep.py",
        ("tests/unit/test_layers_of_defence.py", "tests/process/test_signalled_once.py"),
        light=False,
    ),
    Target("api/guard/request_guard.py", ("tests/api/test_request_guard.py", "tests/api/test_framing.py"), light=False),
)
LEAVE_OUT = (
    r"core/ReplaceBinaryOperator_BitOr_.*",  # the bars in annotations, which are never evaluated
    r"core/ReplaceBinaryOperator_Add_(?!Sub).*",  # one other operator is enough: the rest is noticed or not with it
    r"core/ReplaceBinaryOperator_Sub_(?!Add).*",
    r"core/ReplaceBinaryOperator_Mul_(?!Sub).*",  # not Div: a bare star in a signature may become a slash
    r"core/ReplaceBinaryOperator_Div_(?!Mul).*",
    r"core/ReplaceComparisonOperator_(Is|IsNot)_(?!IsNot|Is$).*",
    r"core/ReplaceUnaryOperator_.*_(Invert|UAdd)",
    r"core/Variable.*",
)
"""Operators of cosmic-ray that are not used."""
EXPLAINED: dict[str, str] = {
    "supervisor/core/jobs/machine.py: assert_never(state) -> pass (LeaveOut)": "it is for mypy: no state is left there",
    "supervisor/guardian/ladder.py: VERDICT = 4 -> VERDICT = 5 (NumberReplacer)": "only the order of the steps counts",
    "supervisor/core/running/queue.py: if self._free > 0 and token not in self._queues and not self._closed and "
    "self._may_run(token): -> if self._free != 0 and token not in self._queues and not self._closed and "
    "self._may_run(token): (ReplaceComparisonOperator_Gt_NotEq)": "there are never fewer than no free slots",
    "supervisor/core/running/queue.py: return limit is None or self._running[token] < limit -> return limit is None "
    "or self._running[token] != limit (ReplaceComparisonOperator_Lt_NotEq)": "more than the limit never run",
    "supervisor/tokens.py: problem = exc.errors(include_url=False, include_input=False)[0] -> problem = "
    "exc.errors(include_url=False, include_input=True)[0] (ReplaceFalseWithTrue)": "only loc and msg are read",
    "supervisor/tokens.py: problem = exc.errors(include_url=False, include_input=False)[0] -> problem = "
    "exc.errors(include_url=True, include_input=False)[0] (ReplaceFalseWithTrue)": "only loc and msg are read",
    'supervisor/guardian/limits.py: elif self._is_counted("pids") and self._leaf.refused_forks() > 0: -> elif '
    'self._is_counted("pids") and self._leaf.refused_forks() != 0: (ReplaceComparisonOperator_Gt_NotEq)': (
        "no count is negative"
    ),
    'supervisor/guardian/limits.py: if self._is_counted("memory") and self._leaf.oom_kills() > 0: -> if '
    'self._is_counted("memory") and self._leaf.oom_kills() != 0: (ReplaceComparisonOperator_Gt_NotEq)': (
        "no count is negative"
    ),
    'supervisor/guardian/limits.py: limit = self._limit.memory_bytes if controller == "memory" else '
    'self._limit.processes -> limit = self._limit.memory_bytes if controller <= "memory" else self._limit.processes '
    "(ReplaceComparisonOperator_Eq_LtE)": "it is called with two names, and the other one comes later in the alphabet",
    "runner/codec.py: problem = exc.errors(include_url=False, include_input=False)[0] -> problem = "
    "exc.errors(include_url=False, include_input=True)[0] (ReplaceFalseWithTrue)": "only loc and msg are read",
    "runner/codec.py: problem = exc.errors(include_url=False, include_input=False)[0] -> problem = "
    "exc.errors(include_url=True, include_input=False)[0] (ReplaceFalseWithTrue)": "only loc and msg are read",
    "runner/codec.py: elif len(line) > MAX_SHORT_BYTES and not isinstance(frame, Described): -> elif "
    "len(line) is MAX_SHORT_BYTES and not isinstance(frame, Described): (ReplaceComparisonOperator_Gt_Is)": (
        "the last of two types counts: a line that ends so is a result or a description"
    ),
    'runner/codec.py: if _containers(line) > MAX_CONTAINERS and _containers(_STRINGS.sub(b"", line)) > '
    'MAX_CONTAINERS: -> if _containers(line) != MAX_CONTAINERS and _containers(_STRINGS.sub(b"", line)) '
    "> MAX_CONTAINERS: (ReplaceComparisonOperator_Gt_NotEq)": ("the exact count after it decides"),
    'runner/codec.py: if _containers(line) > MAX_CONTAINERS and _containers(_STRINGS.sub(b"", line)) > '
    'MAX_CONTAINERS: -> if _containers(line) >= MAX_CONTAINERS and _containers(_STRINGS.sub(b"", line)) '
    "> MAX_CONTAINERS: (ReplaceComparisonOperator_Gt_GtE)": ("the exact count after it decides"),
    'runner/codec.py: if _containers(line) > MAX_CONTAINERS and _containers(_STRINGS.sub(b"", line)) > '
    'MAX_CONTAINERS: -> if _containers(line) is not MAX_CONTAINERS and _containers(_STRINGS.sub(b"", '
    "line)) > MAX_CONTAINERS: (ReplaceComparisonOperator_Gt_IsNot)": ("the exact count after it decides"),
    "runner/codec.py: if isinstance(frame, Result) and len(line) > MAX_SHORT_BYTES: -> if "
    "isinstance(frame, Result) and len(line) != MAX_SHORT_BYTES: (ReplaceComparisonOperator_Gt_NotEq)": (
        "a short result is within its bound anyway"
    ),
    "runner/codec.py: if isinstance(frame, Result) and len(line) > MAX_SHORT_BYTES: -> if "
    "isinstance(frame, Result) and len(line) >= MAX_SHORT_BYTES: (ReplaceComparisonOperator_Gt_GtE)": (
        "a short result is within its bound anyway"
    ),
    "runner/codec.py: if isinstance(frame, Result) and len(line) > MAX_SHORT_BYTES: -> if "
    "isinstance(frame, Result) and len(line) is not MAX_SHORT_BYTES: (ReplaceComparisonOperator_Gt_IsNot)": (
        "a short result is within its bound anyway"
    ),
    'runner/codec.py: raise ProtocolError(f"cannot read frame: {frame.type}: longer than '
    '{MAX_SHORT_BYTES} bytes") -> pass (LeaveOut)': (
        "the last of two types counts: a line that ends so is a result or a description"
    ),
}
"""Module and changed line, as the run prints them → why no test can notice, or none should."""
