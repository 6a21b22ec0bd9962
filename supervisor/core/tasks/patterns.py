"""Whether a text fits a pattern, by the engine that reads it once more in the job: pydantic's own.

It takes linear time, where Python's engine can take exponential time, and it differs in what it accepts: `$` is the end
of the text and not also the place before a last line end, and `\\p{L}` is a letter.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

MAX_COUNTED_TEXT = 64 * 1024
"""Characters of a text for a pattern that counts, such as `(\\w{1,100} ?)+`: each may take a microsecond, in which no
other thread runs Python. Other patterns take some nanoseconds for each, and match a text of any length."""
MAX_PATTERNS = 2_000

_COUNTS = re.compile(r"\{\d")


def is_too_long(pattern: str, text: str) -> bool:
    """Whether matching might take so long that others notice."""
    return len(text) > MAX_COUNTED_TEXT and _COUNTS.search(pattern) is not None


def fits(pattern: str, text: str) -> bool:
    """Whether the pattern is found in the text.

    A pattern that the engine does not take (it has no lookaround) is left to the job: pydantic refuses such a pattern
    when the task is defined, unless the task asks for Python's engine.
    """
    engine = _engine(pattern)
    return engine is None or engine.isinstance_python(text)


@lru_cache(MAX_PATTERNS)
def _engine(pattern: str) -> SchemaValidator | None:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError:
        return None
