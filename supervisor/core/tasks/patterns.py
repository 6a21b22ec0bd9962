"""Match texts against patterns with pydantic's engine, which also checks them in the job.

It takes linear time, where Python's engine can take exponential time. Its syntax differs, too: `$` matches only at the
end of the text and not before a last line end, and `\\p{L}` is a letter.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

MAX_COUNTED_TEXT = 64 * 1024
"""Limit for a text if the pattern has counts, such as `(\\w{1,100} ?)+`: each character may then take a microsecond, in
which no other thread runs Python. Other patterns take some nanoseconds for each, and texts may have any length."""
MAX_PATTERNS = 2_000

_COUNTS = re.compile(r"\{\d")


def is_too_long(pattern: str, text: str) -> bool:
    """Return whether matching might take so long that it delays other threads."""
    return len(text) > MAX_COUNTED_TEXT and _COUNTS.search(pattern) is not None


def fits(pattern: str, text: str) -> bool:
    """Return whether the pattern is found in the text.

    If the engine does not support the pattern (such as lookaround), leave the check to the job: pydantic rejects such a
    pattern when the task is defined, unless the task requests Python's engine.
    """
    engine = _engine(pattern)
    return engine is None or engine.isinstance_python(text)


@lru_cache(MAX_PATTERNS)
def _engine(pattern: str) -> SchemaValidator | None:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError:
        return None
