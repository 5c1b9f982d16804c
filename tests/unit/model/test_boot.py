"""The slots of a boot partition: which one boots next, and GRUB's environment block."""

import pytest

from moorage.model.boot import NAMES, SIZE, BootRecord, Slot

pytestmark = pytest.mark.unit


def record(*slots: Slot) -> BootRecord:
    return BootRecord(slots, (("options", "quiet console=ttyS0"),))


@pytest.mark.parametrize("left", [None, 0, 3])
def test_record_is_read_as_it_was_written(left: int | None) -> None:
    written = record(Slot("b", "12-1.38.0-ab", left), Slot("a", "12-1.37.2-ab"))
    content = written.content()
    assert len(content) == SIZE
    assert BootRecord.parse(content) == written


def test_record_of_grub_is_read() -> None:
    """As grub-editenv writes it."""
    lines = b"# GRUB Environment Block\n# WARNING: Do not edit.\norder=b a\nleft_b=2\noptions=a=1 b\n"
    assert BootRecord.parse(lines.ljust(SIZE, b"#")) == BootRecord(
        (Slot("b", "", 2), Slot("a", "")), (("options", "a=1 b"),)
    )


@pytest.mark.parametrize("content", [b"", b"\0" * SIZE, b"order=a\n"])
def test_other_files_are_rejected(content: bytes) -> None:
    with pytest.raises(ValueError, match="not an environment block"):
        BootRecord.parse(content)


@pytest.mark.parametrize(
    ("slots", "chosen"),
    [
        ((), None),
        ((Slot("a", "1", 0),), "1"),
        ((Slot("b", "2", 0), Slot("a", "1", 0)), "2"),
        ((Slot("b", "2"), Slot("a", "1")), "2"),
        ((Slot("b", "2", 1), Slot("a", "1")), "2"),
        ((Slot("b", "2", 0), Slot("a", "1")), "1"),
        ((Slot("a", "1"), Slot("b", "2")), "1"),
    ],
    ids=["none", "bad and alone", "all bad", "first", "tries left", "tries used up", "rolled back"],
)
def test_first_slot_that_is_not_bad_boots_next(slots: tuple[Slot, ...], chosen: str | None) -> None:
    found = record(*slots).next
    assert (found.version if found else None) == chosen


def test_former_image_boots_after_three_failed_attempts() -> None:
    there, started = record(Slot("a", "1")).installed("2"), []
    for _ in range(4):
        assert there.next is not None
        started.append(there.next.version)
        there = there.counted_down()
    assert started == ["2", "2", "2", "1"]
    assert there.slots == (Slot("b", "2", 0), Slot("a", "1"))


def test_healthy_slot_is_not_counted_any_more() -> None:
    good = record(Slot("b", "2", 1), Slot("a", "1", 3)).blessed("b")
    assert good.slots == (Slot("b", "2"), Slot("a", "1", 3))
    assert good.counted_down() == good
    assert good.blessed("x") == good


@pytest.mark.parametrize(
    ("slots", "then"),
    [
        ((), (Slot("a", "3", 3),)),
        ((Slot("a", "1"),), (Slot("b", "3", 3), Slot("a", "1"))),
        ((Slot("b", "2"), Slot("a", "1")), (Slot("a", "3", 3), Slot("b", "2"))),
        ((Slot("b", "2", 0), Slot("a", "1")), (Slot("b", "3", 3), Slot("a", "1"))),
        ((Slot("b", "3", 1), Slot("a", "1")), (Slot("b", "3", 1), Slot("a", "1"))),
    ],
    ids=["first", "second", "the former one", "the bad one", "installed"],
)
def test_image_is_installed_in_place_of_the_one_that_would_not_boot(
    slots: tuple[Slot, ...], then: tuple[Slot, ...]
) -> None:
    installed = record(*slots).installed("3")
    assert installed == record(*then)
    assert {slot.name for slot in installed.slots} <= set(NAMES)
