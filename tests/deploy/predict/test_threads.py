"""Reading ahead: the same items, errors told, nothing left running."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gkd_lightning.deploy.predict.threads import ahead, in_order


def test_the_same_items_in_the_same_order() -> None:
    assert list(ahead((number for number in range(50)), 3)) == list(range(50))
    with ThreadPoolExecutor(4) as pool:
        assert list(in_order(pool, lambda number: time.sleep((number % 3) / 1000) or number, range(30), 5)) == [
            *range(30)
        ]


def test_an_error_comes_after_what_came_before_it() -> None:
    def source() -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    found = ahead(source(), 2)
    assert next(found) == 1
    with pytest.raises(ValueError, match="broken"):
        next(found)


@pytest.mark.parametrize("newest", [False, True])
def test_a_reader_who_leaves_ends_the_thread_that_reads(newest: bool) -> None:
    closed = threading.Event()

    def source() -> Generator[int, None, None]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    found = ahead(source(), 2, newest=newest)
    next(found)
    found.close()  # type: ignore[attr-defined]  # a generator
    assert closed.wait(5)


def test_a_camera_does_not_wait_for_a_slow_reader() -> None:
    def source() -> Generator[int, None, None]:
        for number in range(20):
            yield number
            time.sleep(0.01)

    found = []
    for number in ahead(source(), 1, newest=True):
        found.append(number)
        time.sleep(0.05)
    assert found == sorted(found)
    assert found[-1] == 19
    assert len(found) < 15
