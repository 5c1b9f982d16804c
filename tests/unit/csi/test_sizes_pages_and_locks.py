"""The driver's pure decisions: sizes, pages and locks."""

from threading import Thread

import pytest

from moorage.csi.locks import Locks, UnderWay
from moorage.csi.pages import BadToken, page
from moorage.csi.size import GIB, SizeOutOfRange, chosen, fits
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("required", "limit", "size"),
    [(0, 0, GIB), (1, 0, GIB), (GIB, GIB, GIB), (GIB + 1, 0, 2 * GIB), (3 * GIB, 4 * GIB, 3 * GIB), (0, GIB, GIB)],
)
def test_size_is_rounded_up(required, limit, size):
    assert chosen(required, limit) == size
    assert fits(size, required, limit)


@pytest.mark.parametrize(("required", "limit"), [(GIB + 1, GIB + 2), (2, 1), (-1, 0), (0, -1), (0, GIB - 1)])
def test_impossible_size_range_is_rejected(required, limit):
    with pytest.raises(SizeOutOfRange):
        chosen(required, limit)


def test_existing_size_must_be_in_range():
    assert fits(2 * GIB, GIB, 0)
    assert not fits(GIB, 2 * GIB, 0)
    assert not fits(3 * GIB, GIB, 2 * GIB)


ROWS = [("c", 3), ("a", 1), ("b", 2)]


def test_pages_have_every_row_once():
    first, token = page(ROWS, "", 2)
    second, end = page(ROWS, token, 2)
    assert (first, second, end) == ([1, 2], [3], "")
    assert page(ROWS, "", 0) == ([1, 2, 3], "")
    assert page(ROWS, "", 3) == ([1, 2, 3], "")
    assert page([], "", 2) == ([], "")


def test_row_deleted_between_pages_hides_no_other():
    _, token = page(ROWS, "", 1)
    assert page([row for row in ROWS if row[0] != "a"], token, 5) == ([2, 3], "")


def test_unknown_token_and_negative_page_are_rejected():
    with pytest.raises(BadToken, match="'nonsense'"):
        page(ROWS, "nonsense", 1)
    with pytest.raises(BadInput, match="-1"):
        page(ROWS, "", -1)


def test_lock_rejects_second_call_for_same_volume():
    locks = Locks()
    with locks.hold("one"):
        with pytest.raises(UnderWay, match="one"), locks.hold("one"):
            pytest.fail("held twice")
        with locks.hold("two"):
            pass
    with locks.hold("one", "two"):
        pass


def test_lock_holds_all_names_or_none():
    locks = Locks()
    with locks.hold("one"):
        with pytest.raises(UnderWay), locks.hold("one", "two"):
            pytest.fail("held twice")
        with locks.hold("two"):
            pass


def test_failed_call_releases_lock():
    locks = Locks()
    with pytest.raises(ValueError, match="broken"), locks.hold("one"):
        raise ValueError("broken")
    with locks.hold("one"):
        pass


def test_one_thread_holds_a_name():
    locks, outcomes = Locks(), []

    def attempt():
        try:
            with locks.hold("one"):
                outcomes.append("held")
        except UnderWay:
            outcomes.append("refused")

    with locks.hold("one"):
        threads = [Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outcomes == ["refused"] * 8
