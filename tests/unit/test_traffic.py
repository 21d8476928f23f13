import math
from itertools import count, islice

import numpy as np
import pytest

from data.errors import ServerUnavailable
from tasks.traffic import Cameras, Sent, wait_until


def test_accuracy_counts_the_pictures_no_training_sees() -> None:
    sent = Sent(truth=["1", "2", "3", "4"], answers=["1", "0", "3", "0"], held_out=[True, True, False, False])
    assert sent.accuracy() == (0.5, 2)
    assert sent.accuracy(held_out_only=False) == (0.5, 4)


def test_accuracy_of_nothing_is_no_number() -> None:
    value, rows = Sent().accuracy()
    assert math.isnan(value)
    assert rows == 0


def test_cameras_show_each_picture_once_a_round_in_an_order_from_the_seed() -> None:
    one, same, other = (Cameras("http://127.0.0.1:9", seed) for seed in (0, 0, 1))
    pictures = len(one.truth)
    order = list(islice(one.order, 2 * pictures))
    assert sorted(order[:pictures]) == sorted(order[pictures:]) == list(range(pictures))
    assert order[:pictures] == list(islice(same.order, pictures)) != list(islice(other.order, pictures))
    assert 0.2 < np.mean(one.held_out) < 0.8


def test_waiting_ends_with_the_claim_or_with_the_time() -> None:
    asked = count()
    assert wait_until(lambda: next(asked) == 2, seconds=5, pause_s=0)
    assert not wait_until(lambda: False, seconds=0.01, pause_s=0)


def test_cameras_without_a_service_say_why_nobody_answered() -> None:
    with Cameras("http://127.0.0.1:9", key="hf_secret") as cameras:
        sent = cameras.send(10)
        assert (sent.failed, len(sent.ids), "refused" in sent.why) == (10, 0, True)
        assert cameras.service.http.headers["x-api-key"] == "hf_secret"
        with pytest.raises(ServerUnavailable, match="does not answer"):
            cameras.label(sent)
