"""Boot entries, by the Boot Loader Specification's own examples where it has some."""

import pytest

from moorage.model import boot
from moorage.model.boot import Entry

pytestmark = pytest.mark.unit

TEXT = "title Moorage 12-1.37.2-ab\nversion 12-1.37.2-ab\noptions quiet moorage.slot=/slots/12-1.37.2-ab.squashfs\n"


def entry(version: str, left: int | None = None, done: int = 0) -> Entry:
    return Entry(f"moorage-{version}", version, f"/slots/{version}.squashfs", left, done)


@pytest.mark.parametrize(
    ("name", "left", "done"),
    [("a.conf", None, 0), ("a+3.conf", 3, 0), ("a+2-1.conf", 2, 1), ("a+0-3.conf", 0, 3), ("a+10-12.conf", 10, 12)],
)
def test_counter_is_read_from_name_and_written_back(name: str, left: int | None, done: int) -> None:
    read = Entry.parse(name, TEXT)
    assert (read.id, read.left, read.done, read.filename) == ("a", left, done, name)


def test_entry_has_version_and_slot() -> None:
    read = Entry.parse("moorage-12-1.37.2-ab+3.conf", TEXT)
    assert (read.version, read.slot) == ("12-1.37.2-ab", "/slots/12-1.37.2-ab.squashfs")
    assert dict(read.fields)["title"] == "Moorage 12-1.37.2-ab"


def test_comments_and_empty_lines_are_ignored() -> None:
    assert Entry.parse("a.conf", f"# a comment\n\n   \n{TEXT}") == Entry.parse("a.conf", TEXT)


@pytest.mark.parametrize("name", ["a.txt", ".conf", "conf"])
def test_other_files_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a boot entry"):
        Entry.parse(name, TEXT)


def test_entry_without_slot_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"has no moorage\.slot="):
        Entry.parse("linux.conf", "title Linux\noptions root=LABEL=x\n")


def test_new_entry_has_three_attempts() -> None:
    made, text = boot.new("12-1.37.2-ab")
    assert made.filename == "moorage-12-1.37.2-ab+3.conf"
    assert Entry.parse(made.filename, text) == made


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ([], None),
        ([entry("1", left=0, done=3)], "1"),
        ([entry("1", left=0, done=3), entry("2", left=0, done=3)], "2"),
        ([entry("1"), entry("2")], "2"),
        ([entry("1"), entry("2", left=1, done=2)], "2"),
        ([entry("1"), entry("2", left=0, done=3)], "1"),
        ([entry("12-1.9.0-ff"), entry("12-1.10.0-aa")], "12-1.10.0-aa"),
    ],
    ids=["none", "bad and alone", "all bad", "newest", "tries left", "tries used up", "numbers, not letters"],
)
def test_choose_newest_and_bad_last(there: list[Entry], chosen: str | None) -> None:
    found = boot.choose(there)
    assert (found.version if found else None) == chosen


def test_choose_older_after_three_failed_attempts() -> None:
    old, new = entry("1"), entry("2", left=3)
    started = []
    for _ in range(4):
        tried = boot.choose([old, new])
        assert tried is not None
        started.append(tried.version)
        new = boot.counted_down(new) if tried == new else new
    assert started == ["2", "2", "2", "1"]
    assert new.filename == "moorage-2+0-3.conf"


def test_blessed_entry_is_not_counted() -> None:
    good = boot.blessed(entry("2", left=1, done=2))
    assert good.filename == "moorage-2.conf"
    assert boot.counted_down(good) == good


def test_bad_entry_is_not_counted_and_can_be_blessed() -> None:
    bad = entry("2", left=0, done=3)
    assert boot.counted_down(bad) == bad
    assert boot.blessed(bad).filename == "moorage-2.conf"


def test_counting_changes_only_the_name() -> None:
    read = Entry.parse("a+3.conf", TEXT)
    assert boot.blessed(boot.counted_down(read)).fields == read.fields


@pytest.mark.parametrize(("older", "newer"), [("1.9", "1.10"), ("12-1.37.2", "12-1.37.2-1"), ("1.0rc1", "1.0.1")])
def test_versions_are_ordered(older: str, newer: str) -> None:
    assert boot.version_key(older) < boot.version_key(newer)
