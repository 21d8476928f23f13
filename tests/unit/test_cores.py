import os
import threading

import pytest

from serving.cores import Cores

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="there is one core, or no choice"
)


def seen(together: bool) -> list[set[int]]:
    cores, found = Cores(together=together), []

    def run() -> None:
        for move in (cores.gather, cores.spread):
            move()
            found.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found


def test_a_thread_is_put_to_one_core_and_let_go_and_no_other_is_moved() -> None:
    before = os.sched_getaffinity(0)
    gathered, spread = seen(together=True)
    assert len(gathered) == 1
    assert gathered < before
    assert spread == before == os.sched_getaffinity(0)


def test_threads_that_need_not_be_together_stay_where_they_are() -> None:
    assert seen(together=False) == [os.sched_getaffinity(0)] * 2
