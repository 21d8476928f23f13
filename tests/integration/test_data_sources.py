import gzip
import json
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas as pd
import pytest

from data import catalogue
from data.batches import coerce
from data.errors import BadDeclaration, Corrupt, SourceUnavailable
from data.public import elec2
from data.schema import Category, Image, Schema, length
from data.sources import Batch, Bundled, Catalogued, Files, Query, fetch, numbered

TABLE = pd.DataFrame({"id": ["001", "002"], "x": [0.1, 0.2]})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SITE_DATA", str(tmp_path))
    TABLE.to_csv(tmp_path / "2026-01-02.csv", index=False)
    TABLE.to_parquet(tmp_path / "2026-01-01.parquet")
    (tmp_path / ".hidden.csv").write_text("id\n1\n")
    (tmp_path / "coming.csv.part").write_text("id\n1\n")
    return tmp_path


def test_each_file_of_a_folder_is_a_batch_and_keys_keep_their_zeros(folder: Path) -> None:
    found = list(fetch(Files("$SITE_DATA")))
    assert [batch.name for batch in found] == ["2026-01-01", "2026-01-02"]
    assert [list(batch.frame["id"]) for batch in found] == [["001", "002"]] * 2


def test_a_relative_folder_stands_beside_the_file_that_names_it() -> None:
    with pytest.raises(SourceUnavailable, match=str(Path(__file__).parent / "nowhere")):
        list(fetch(Files("nowhere")))


@pytest.mark.parametrize("broken", [b"", b"PAR1", None])
def test_an_unreadable_file_is_named_and_hides_no_other(folder: Path, broken: bytes | None) -> None:
    whole = (folder / "2026-01-01.parquet").read_bytes()
    (folder / "2026-01-01b.parquet").write_bytes(whole[: len(whole) // 2] if broken is None else broken)
    (folder / "empty.csv").write_bytes(b"")
    arriving = fetch(Files("$SITE_DATA"))
    assert [next(arriving).name, next(arriving).name] == ["2026-01-01", "2026-01-02"]
    with pytest.raises(SourceUnavailable, match=r"2026-01-01b\.parquet .*empty\.csv"):
        next(arriving)


def test_a_query_reads_the_database_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("create table sales (id text, day text)")
        database.executemany("insert into sales values (?, ?)", [("a", "2026-01-01"), ("b", "2026-01-02")])
    database.close()
    monkeypatch.setenv("SHOP", f"sqlite:///{tmp_path}/shop.db")
    assert [batch.name for batch in fetch(Query("SHOP", "select * from sales", batch="day"))] == [
        "2026-01-01",
        "2026-01-02",
    ]
    [whole] = fetch(Query("SHOP", "select * from sales"))
    assert len(whole.frame) == 2
    with pytest.raises(SourceUnavailable, match="SHOP: no such table"):
        list(fetch(Query("SHOP", "select * from sails")))


@pytest.mark.parametrize("url", ["nonsense://user:hunter2@host/db", "postgresql://user:hunter2@", "hunter2"])
def test_a_bad_database_url_is_refused_without_showing_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP", url)
    with pytest.raises(SourceUnavailable) as refused:
        list(fetch(Query("SHOP", "select 1")))
    assert "hunter2" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_a_frame_is_one_batch_named_by_its_content_in_any_order() -> None:
    [one] = fetch(lambda: TABLE)
    [other] = fetch(lambda: TABLE.iloc[::-1])
    [third] = fetch(lambda: TABLE.assign(x=0.3))
    assert one.name == other.name != third.name
    assert one.name.startswith("all-")


def test_of_a_sources_frames_the_newest_has_the_last_name() -> None:
    [first], [second] = fetch(lambda: TABLE), fetch(lambda: TABLE.assign(x=0.3))
    known = ["2026-01-01", "frame-of-mine"]
    for given, news in ((first, True), (first, False), (second, True), (first, True), (first, False)):
        named = numbered(given, known, known[:1]).name
        assert (named not in known) == news
        known += [named] * news
        assert named == max(name for name in known if name.startswith("frame-0"))
    assert len(known) == 5
    [other] = fetch(lambda: [Batch("2026-01-02", TABLE)])
    assert other.whole is False


def test_a_frame_of_which_nothing_was_accepted_is_news_once_and_no_news_to_what_was() -> None:
    [good], [bad] = fetch(lambda: TABLE), fetch(lambda: TABLE.assign(x=0.3))
    accepted, quarantined = [numbered(good, [], []).name], [numbered(bad, [], []).name]
    assert quarantined[0].startswith("frame-000001-")
    quarantined = [numbered(bad, accepted, []).name]
    assert quarantined[0].startswith("frame-000002-")
    assert numbered(good, accepted, quarantined).name == accepted[0]
    assert numbered(bad, accepted, quarantined).name == quarantined[0]
    [next_] = fetch(lambda: TABLE.assign(x=0.4))
    later = [*accepted, numbered(next_, accepted, quarantined).name]
    assert later[1].startswith("frame-000003-")
    assert numbered(bad, later, quarantined).name.startswith("frame-000004-")
    assert numbered(good, [good.name], []).name == good.name  # from an earlier version's home


def test_what_goes_wrong_in_a_users_function_is_told_with_its_cause() -> None:
    def broken() -> Iterator[Batch]:
        yield Batch("a", TABLE)
        raise RuntimeError("the till is\non fire")

    arrived = fetch(broken)
    assert next(arrived).name == "a"
    with pytest.raises(SourceUnavailable, match="RuntimeError: the till is on fire"):
        next(arrived)
    with pytest.raises(SourceUnavailable, match="gives a str"):
        list(fetch(lambda: ["a"]))


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 81])
def test_a_batch_name_can_always_be_a_files_name(name: str) -> None:
    with pytest.raises(BadDeclaration):
        Batch(name, TABLE)


def test_bundled_digits_fit_their_schema() -> None:
    schema = Schema(
        columns={"image": Image(height=8, width=8, high=16), "digit": Category(levels=tuple("0123456789"))},
        target="digit",
        key="key",
    )
    [batch] = fetch(Bundled("digits"))
    rows, bad = coerce(batch.frame, schema)
    assert (length(rows), bad) == (1797, [])
    with pytest.raises(BadDeclaration, match="did you mean 'digits'"):
        Bundled("digit")


def test_elec2_is_the_recorded_45312_half_hours(datasets: Path) -> None:
    rows = catalogue.load("elec2", datasets)
    assert len(rows) == 45_312
    assert list(rows)[:3] == ["key", "time", "day"]
    assert rows["time"].iloc[48].isoformat() == "1996-05-08T00:00:00+00:00"
    assert set(rows["class"]) == {"UP", "DOWN"}
    assert rows["day"].iloc[:49:48].tolist() == ["2", "3"]


class OpenMLTwin(BaseHTTPRequestHandler):
    """Answers as OpenML does."""

    arff = b""

    def do_GET(self) -> None:
        url = f"http://127.0.0.1:{self.server.server_address[1]}/data/download/elec.arff"  # type: ignore[attr-defined]
        body = self.arff if self.path.endswith(".arff") else json.dumps({"data_set_description": {"url": url}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def openml() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), OpenMLTwin) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


HEADER = "% the copy with date and day\n@relation e\n@attribute date numeric\n@attribute day {1,2,3,4,5,6,7}\n"
NUMBERS = "".join(f"@attribute {name} numeric\n" for name in elec2.NUMBERS)


def test_a_downloaded_copy_must_have_the_same_rows_and_is_kept(
    datasets: Path, openml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path))
    monkeypatch.delenv("HOLDFAST_DATASETS")
    local = catalogue.load("elec2", datasets)
    numbers = local[list(elec2.NUMBERS)].map(lambda value: f"{value:g}")
    table = numbers.assign(c=local["class"])
    table.insert(0, "day", local["day"])
    table.insert(0, "date", "0")
    text = HEADER + NUMBERS + "@attribute class {UP,DOWN}\n@data\n" + table.to_csv(index=False, header=False)
    OpenMLTwin.arff = text.encode()
    pd.testing.assert_frame_equal(catalogue.load("elec2", None, openml), local)
    OpenMLTwin.arff = b""
    pd.testing.assert_frame_equal(catalogue.load("elec2", None, openml), local)
    (tmp_path / "datasets/elec2/elec.csv.gz").unlink()
    OpenMLTwin.arff = text.replace(",UP\n", ",DOWN\n", 1).encode()
    with pytest.raises(Corrupt):
        catalogue.load("elec2", None, openml)
    assert not (tmp_path / "datasets/elec2/elec.csv.gz").exists()


def test_offline_and_absent_gives_one_line_that_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DATASETS", str(tmp_path))
    with pytest.raises(SourceUnavailable) as refused:
        list(fetch(Catalogued("elec2")))
    assert str(tmp_path / "elec2/elec.csv.gz") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_local_copy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elec2").mkdir()
    whole = gzip.compress(b"period,class\n0.1,1\n" * 50)
    for content in (whole, whole[:-9], b"no gzip"):
        (tmp_path / "elec2/elec.csv.gz").write_bytes(content)
        with pytest.raises(Corrupt):
            catalogue.load("elec2", tmp_path)
