"""What the driver decides without asking anybody: sizes, pages, and whose turn it is."""

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
def test_a_size_is_rounded_up_to_whole_units(required, limit, size):
    assert chosen(required, limit) == size
    assert fits(size, required, limit)


@pytest.mark.parametrize(("required", "limit"), [(GIB + 1, GIB + 2), (2, 1), (-1, 0), (0, -1), (0, GIB - 1)])
def test_a_range_that_no_size_meets_is_refused(required, limit):
    with pytest.raises(SizeOutOfRange):
        chosen(required, limit)


def test_a_volume_that_is_there_fits_only_between_both_ends():
    assert fits(2 * GIB, GIB, 0)
    assert not fits(GIB, 2 * GIB, 0)
    assert not fits(3 * GIB, GIB, 2 * GIB)


ROWS = [("c", 3), ("a", 1), ("b", 2)]


def test_pages_hold_everything_once():
    first, token = page(ROWS, "", 2)
    second, end = page(ROWS, token, 2)
    assert (first, second, end) == ([1, 2], [3], "")
    assert page(ROWS, "", 0) == ([1, 2, 3], "")
    assert page(ROWS, "", 3) == ([1, 2, 3], "")
    assert page([], "", 2) == ([], "")


def test_a_row_that_is_deleted_between_pages_hides_no_other():
    _, token = page(ROWS, "", 1)
    assert page([row for row in ROWS if row[0] != "a"], token, 5) == ([2, 3], "")


def test_a_token_of_nobody_and_a_negative_page_are_refused():
    with pytest.raises(BadToken, match="'nonsense'"):
        page(ROWS, "nonsense", 1)
    with pytest.raises(BadInput, match="-1"):
        page(ROWS, "", -1)


def test_a_second_call_for_the_same_volume_is_sent_away_and_another_is_not():
    locks = Locks()
    with locks.hold("one"):
        with pytest.raises(UnderWay, match="one"), locks.hold("one"):
            pytest.fail("held twice")
        with locks.hold("two"):
            pass
    with locks.hold("one", "two"):
        pass


def test_of_several_names_none_is_held_when_one_is_taken():
    locks = Locks()
    with locks.hold("one"):
        with pytest.raises(UnderWay), locks.hold("one", "two"):
            pytest.fail("held twice")
        with locks.hold("two"):
            pass


def test_a_call_that_fails_lets_go():
    locks = Locks()
    with pytest.raises(ValueError, match="broken"), locks.hold("one"):
        raise ValueError("broken")
    with locks.hold("one"):
        pass


def test_of_many_threads_one_holds_a_name():
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
