"""What kind of content a file has, by its name: the same on every machine, whatever its mime.types says."""

from __future__ import annotations

import mimetypes

UNKNOWN = "application/octet-stream"

_TABLE = mimetypes.MimeTypes()
_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_MORE = {".md": "text/markdown", ".log": "text/plain", ".jsonl": "application/jsonl", ".toml": "application/toml"}
_TEXT = frozenset({"application/json", "application/jsonl", "application/javascript", "application/toml"})


def media_type_of(path: bytes) -> str:
    """With a charset for text: a job's text is UTF-8, as its terminal is."""
    name = path.rpartition(b"/")[2].decode("utf-8", "replace").lower()
    # Not as a URL, in which a name such as "data:x" would mean something else.
    guessed, encoding = _TABLE.guess_type(f"/{name}", strict=True)
    kind = _COMPRESSED.get(encoding, UNKNOWN) if encoding else guessed or _by_extension(name)
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind in _TEXT else kind


def _by_extension(name: str) -> str:
    return next((kind for extension, kind in _MORE.items() if name.endswith(extension)), UNKNOWN)
