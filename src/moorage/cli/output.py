"""Output of commands: results on stdout in the chosen format, progress and errors on stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import click

from moorage.model.errors import MoorageError

REPEAT = 15.0  # seconds after which a step that takes longer is printed again
FORMATS = ("table", "json", "yaml")

output_option = click.option(
    "--output",
    "-o",
    "output",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="Format of the result.",
)


def emit(output: str, value: Any, columns: Sequence[str] | None = None) -> None:
    """Print `value` on stdout: a mapping as a two-column table, a list of mappings as rows.

    `columns` selects and orders the keys in tables; json and yaml always have all of them.
    """
    if output == "json":
        click.echo(json.dumps(value, indent=2, default=str))
    elif output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(json.loads(json.dumps(value, default=str)), sort_keys=False), nl=False)
    elif isinstance(value, Mapping):
        _fields(value, columns)
    else:
        _rows(value, columns)


def _fields(value: Mapping[str, Any], columns: Sequence[str] | None) -> None:
    shown = [key for key in (columns or list(value))]
    width = max((len(key) for key in shown), default=0)
    for key in shown:
        first, *rest = _text(value.get(key)).splitlines() or [""]
        click.echo(f"{key.replace('_', ' '):<{width}}  {first}".rstrip())
        for line in rest:
            click.echo(f"{'':<{width}}  {line}")


def _rows(value: Sequence[Mapping[str, Any]], columns: Sequence[str] | None) -> None:
    keys = list(columns or (value[0] if value else ()))
    table = [[key.replace("_", " ").upper() for key in keys]]
    table += [[_text(row.get(key)) for key in keys] for row in value]
    widths = [max(len(row[i]) for row in table) for i in range(len(keys))]
    for row in table:
        click.echo("   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(_text(item) for item in value)
    return str(value)


def fail(error: MoorageError) -> int:
    """Print an error and its hint; returns the exit code."""
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"  try: {error.hint}", err=True)
    return error.exit_code


@contextmanager
def progress(stream: TextIO | None = None) -> Iterator[Callable[[str], None]]:
    """Yield a `report(text)`: each call begins a step, which ends with the next call.

    On a terminal the running step counts its seconds in place; elsewhere each step is a line when it begins, and
    another line for every 15 seconds that it takes.
    """
    shown = _Progress(stream or sys.stderr)
    try:
        yield shown.report
    except BaseException:
        shown.finish("✗")
        raise
    shown.finish("✓")


class _Progress:
    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.live = stream.isatty()
        self.started = self.since = self.written = time.monotonic()
        self.text = ""
        self.lock = threading.Lock()
        self.ended = threading.Event()
        count = self._count if self.live else self._repeat
        threading.Thread(target=count, daemon=True, name="progress").start()

    def report(self, text: str) -> None:
        """Begin a step; the text of the running step again changes nothing."""
        with self.lock:
            if text == self.text:
                return
            self._close("✓")
            self.text, self.since = text, time.monotonic()
            if not self.live:
                self._line(text)

    def finish(self, mark: str) -> None:
        self.ended.set()
        with self.lock:
            self._close(mark)
            self.text = ""

    def _close(self, mark: str) -> None:
        if self.live and self.text:
            self._write(f"\r\x1b[K{mark} {self.text}  {time.monotonic() - self.since:.1f} s\n")

    def _count(self) -> None:
        while not self.ended.wait(0.2):
            with self.lock:
                if self.text:
                    self._write(f"\r\x1b[K… {self.text}  {time.monotonic() - self.since:.0f} s")

    def _repeat(self) -> None:
        while not self.ended.wait(1.0):
            with self.lock:
                now = time.monotonic()
                if self.text and now - self.written >= REPEAT:
                    self._line(f"{self.text} ({now - self.since:.0f} s)")

    def _line(self, text: str) -> None:
        self.written = time.monotonic()
        self._write(f"[{self.written - self.started:6.1f} s] {text}\n")

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()
