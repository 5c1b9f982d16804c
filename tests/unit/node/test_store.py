"""A cluster's store begins with the image's, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from moorage.node.layout import Layout
from moorage.node.store import LOG_SIZE, plant

pytestmark = pytest.mark.unit


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    for name, text in {"snap/db": "roles", "wal/0-0.wal": "log"}.items():
        file = layout.store_seed / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return layout


def test_plant_copies_store_privately(layout: Layout) -> None:
    plant(layout)
    assert (layout.store / "snap/db").read_text() == "roles"
    assert (layout.store / "wal/0-0.wal").read_bytes() == b"log" + b"\0" * (LOG_SIZE - 3)
    assert all(path.stat().st_mode & 0o077 == 0 for path in layout.store.rglob("*"))


def test_plant_keeps_existing_store(layout: Layout) -> None:
    plant(layout)
    (layout.store / "snap/db").write_text("a cluster")
    plant(layout)
    assert (layout.store / "snap/db").read_text() == "a cluster"


def test_plant_replaces_incomplete_store(layout: Layout) -> None:
    half = layout.store.with_name("member.new")
    half.mkdir(parents=True)
    (half / "rest").write_text("of an earlier try")
    plant(layout)
    assert not (layout.store / "rest").exists()
    assert not half.exists()
