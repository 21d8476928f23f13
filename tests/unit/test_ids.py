import re

import pandas as pd
import pytest

from data.requests import read_requests
from data.schema import Id, Number, Schema
from serving.openapi_schemas import column_schema
from serving.values import learned_checker

SHOP = Schema(columns={"user": Id(), "item": Id(unknown="refuse"), "stars": Number()}, target="stars", key="key")


def test_a_file_is_refused_the_rows_that_the_service_would_refuse() -> None:
    given = pd.DataFrame({"user": ["u0", "nobody", None, "u0"], "item": ["i00", "i01", "i02", "i99"]})
    found = read_requests(given, SHOP, "today", {"user": ["u0"], "item": ["i00", "i01", "i02"]})
    assert found.positions.tolist() == [0, 1]
    assert found.unfit == {2: "user: missing", 3: "item: was never learned"}


def test_ids_that_no_request_could_say_are_bad_data() -> None:
    given = pd.DataFrame({"x": ["12", 12, 12.0, "", "a\nb", None, "x" * 201, ["12"]]}, dtype=object)
    values, bad = Id().typed(given["x"])
    assert values[:3].tolist() == ["12", "12", "12"]
    assert sorted(bad) == [3, 4, 6, 7]


@pytest.mark.parametrize("learned", [("Amélie", "zorro"), ("Amélie", "Été"), ("12", "Amélie")])
def test_the_documents_example_of_an_id_is_one_that_the_version_takes(learned: tuple[str, ...]) -> None:
    described = column_schema(Id(unknown="refuse"), learned)
    (example,) = described["examples"]
    assert learned_checker(learned)(example) == example
    assert re.search(described.get("pattern", ""), example)
