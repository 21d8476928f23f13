import pytest

from data.wording import significant
from models.comparison import amount, shown
from models.resampling import Interval


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (1000.4, 3, "1000"),
        (123456.7, 3, "123457"),
        (12.345, 3, "12.3"),
        (0.00001234, 3, "1.23e-05"),
        (-99999.6, 4, "-100000"),
        (4e15, 4, "4e+15"),
        (float("inf"), 3, "inf"),
        (float("nan"), 3, "nan"),
    ],
)
def test_numbers_are_written_without_exponents_where_people_count_so_far(value: float, digits: int, said: str) -> None:
    assert significant(value, digits) == said


def test_a_gate_speaks_of_dollars_as_people_do() -> None:
    assert amount(1000.0, "mae") == "1000 of mae"
    said = shown(Interval(12_500.4, -1_000_000.0, 25_000.0, 400, 400), "mae", "fresh", "entities")
    assert said.startswith("+12500 of mae (above 0 is better) [\N{MINUS SIGN}1000000, +25000] on 400 fresh rows")
