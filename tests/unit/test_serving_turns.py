import asyncio
import threading
from collections.abc import Callable

import pytest

from serving import turns
from serving.refusals import Refused
from serving.turns import Turns


def test_one_turn_writes_all_its_pieces_before_the_next_begins() -> None:
    written: list[str] = []

    async def two() -> list[list[None]]:
        one = Turns(lambda: "", lambda: True)
        works = ([lambda part=part: written.append(part) for part in parts] for parts in ("aaa", "bbb"))
        return await asyncio.gather(*[one.write(work) for work in works])

    assert asyncio.run(two()) == [[None] * 3] * 2
    assert written == list("aaabbb")


def test_who_waits_too_long_behind_another_is_refused_and_never_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.2)
    free = threading.Event()
    begun: list[int] = []

    async def many() -> list[object]:
        one = Turns(lambda: "", lambda: False)
        works: list[Callable[[], object]] = [free.wait, *[lambda: begun.append(1)] * 100]
        answers = await asyncio.gather(*[one.write([work]) for work in works], return_exceptions=True)
        free.set()
        monkeypatch.setattr(turns, "PATIENCE", 10.0)  # the thread that was given up wakes when the machine lets it
        assert await one.write([lambda: begun.append(2)]) == [None]
        return list(answers)

    assert [isinstance(told, Refused) and told.status for told in asyncio.run(many())] == [503] * 101
    assert begun == [2]


def test_while_the_store_is_known_to_fail_nobody_waits_for_a_turn() -> None:
    with pytest.raises(Refused, match="the disk is full"):
        asyncio.run(Turns(lambda: "the disk is full", lambda: False).write([pytest.fail]))


def test_a_turn_that_goes_on_writing_may_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.4)
    works = [lambda: threading.Event().wait(0.1)] * 8
    assert asyncio.run(Turns(lambda: "", lambda: False).write(works)) == [False] * 8
