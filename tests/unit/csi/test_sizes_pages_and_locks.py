"""Sizes, pages and locks."""

from threading import Thread

import pytest

from moorage.csi.locks import CallInProgress, Locks
from moorage.csi.messages import BadToken, paginate
from moorage.csi.size import GIB, SizeOutOfRange, choose_size, is_in_range
from moorage.model.errors import BadInput

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("required", "limit", "size"),
    [(0, 0, GIB), (1, 0, GIB), (GIB, GIB, GIB), (GIB + 1, 0, 2 * GIB), (3 * GIB, 4 * GIB, 3 * GIB), (0, GIB, GIB)],
)
def test_choose_size_rounds_up(required, limit, size):
    assert choose_size(required, limit) == size
    assert is_in_range(size, required, limit)


@pytest.mark.parametrize(("required", "limit"), [(GIB + 1, GIB + 2), (2, 1), (-1, 0), (0, -1), (0, GIB - 1)])
def test_impossible_size_range_is_rejected(required, limit):
    with pytest.raises(SizeOutOfRange):
        choose_size(required, limit)


def test_existing_size_must_be_in_range():
    assert is_in_range(2 * GIB, GIB, 0)
    assert not is_in_range(GIB, 2 * GIB, 0)
    assert not is_in_range(3 * GIB, GIB, 2 * GIB)


ROWS = [("c", 3), ("a", 1), ("b", 2)]


def test_pages_have_every_row_once():
    first, token = paginate(ROWS, "", 2)
    second, end = paginate(ROWS, token, 2)
    assert (first, second, end) == ([1, 2], [3], "")
    assert paginate(ROWS, "", 0) == ([1, 2, 3], "")
    assert paginate(ROWS, "", 3) == ([1, 2, 3], "")
    assert paginate([], "", 2) == ([], "")


def test_page_after_deleted_row_has_all_others():
    _, token = paginate(ROWS, "", 1)
    assert paginate([row for row in ROWS if row[0] != "a"], token, 5) == ([2, 3], "")


def test_unknown_token_and_negative_page_are_rejected():
    with pytest.raises(BadToken, match="'nonsense'"):
        paginate(ROWS, "nonsense", 1)
    with pytest.raises(BadInput, match="-1"):
        paginate(ROWS, "", -1)


def test_lock_rejects_second_call_for_same_volume():
    locks = Locks()
    with locks.hold("one"):
        with pytest.raises(CallInProgress, match="one"), locks.hold("one"):
            pytest.fail("held twice")
        with locks.hold("two"):
            pass
    with locks.hold("one", "two"):
        pass


def test_lock_holds_all_names_or_none():
    locks = Locks()
    with locks.hold("one"):
        with pytest.raises(CallInProgress), locks.hold("one", "two"):
            pytest.fail("held twice")
        with locks.hold("two"):
            pass


def test_failed_call_releases_lock():
    locks = Locks()
    with pytest.raises(ValueError, match="broken"), locks.hold("one"):
        raise ValueError("broken")
    with locks.hold("one"):
        pass


def test_held_name_rejects_all_other_threads():
    locks, outcomes = Locks(), []

    def attempt():
        try:
            with locks.hold("one"):
                outcomes.append("held")
        except CallInProgress:
            outcomes.append("rejected")

    with locks.hold("one"):
        threads = [Thread(target=attempt) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outcomes == ["rejected"] * 8
