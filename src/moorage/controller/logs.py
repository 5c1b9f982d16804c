"""Logs as one JSON object per line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

EXTRA = ("controller", "key", "seconds", "again")  # fields of a record beside its message


class JsonLines(logging.Formatter):
    """Time (RFC 3339, UTC), level, logger, message, and the record's EXTRA fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def log_json(level: str, stream: TextIO = sys.stderr) -> None:
    """Send all logs of this process to `stream`; libraries log warnings only."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("moorage").setLevel(level.upper())
