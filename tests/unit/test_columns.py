import base64
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from PIL import Image as Pictures

from data.batches import coerce, frame_of, read_batch, write_batch
from data.descriptors import describe, described
from data.errors import BadDeclaration, BadRow
from data.packing import ListPacker, pack_all, unpack_rows
from data.requests import read_requests
from data.schema import Audio, Category, Column, Image, Number, Rows, Schema, Series, Text, length, schema_from_json
from data.validation import validate
from data.wav import read_wav, write_wav
from models.compatibility import incompatibilities
from models.encoding import Encoder
from models.spectra import log_mel
from models.vocabulary import Vocabulary
from serving.openapi_schemas import example_of, row_schema
from serving.validation import RowReader
from tasks.client import asked, told

RATE = 8000
SCHEMA = Schema(
    columns={
        "note": Text(longest=80),
        "clip": Audio(rate=RATE, seconds=0.5),
        "load": Series(length=4, channels=("north", "south"), nullable=True),
        "photo": Image(height=3, width=2),
        "kind": Category(levels=("a", "b")),
    },
    target="kind",
    key="id",
)


def tone(hertz: float, seconds: float = 0.25, loud: float = 0.5) -> np.ndarray:
    moments = np.arange(int(RATE * seconds)) / RATE
    return (loud * 32767 * np.sin(2 * np.pi * hertz * moments)).astype(np.int16)


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Pictures.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def wav(samples: np.ndarray, rate: int = RATE) -> str:
    return base64.b64encode(write_wav(rate, samples)).decode()


def frame(rows: int = 6) -> pd.DataFrame:
    generator = np.random.default_rng(3)
    series = generator.normal(size=(rows, 4, 2))
    series[1, 2, 0] = np.nan
    return pd.DataFrame(
        {
            "id": [f"row-{at}" for at in range(rows)],
            "note": [f'the {at} parcel came late, again: \N{SNOWMAN} "{at}"' for at in range(rows)],
            "clip": [tone(200 + 100 * at) for at in range(rows)],
            "load": list(series),
            "photo": list(generator.integers(0, 256, (rows, 3, 2)).astype(np.uint8)),
            "kind": ["a", "b"] * (rows // 2),
        }
    )


def typed() -> Rows:
    rows, misfits = coerce(frame(), SCHEMA)
    assert misfits == []
    return rows


def same(one: Rows, other: Rows) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and np.array_equal(one[name], other[name], equal_nan=values.dtype.kind == "f")
        for name, values in one.items()
    )


def test_rows_of_every_kind_survive_the_way_through_frames_files_and_the_log(tmp_path: Path) -> None:
    rows = typed()
    write_batch(tmp_path / "a.parquet", rows, SCHEMA)
    assert same(read_batch(tmp_path / "a.parquet", SCHEMA), rows)
    assert same(coerce(frame_of(rows, SCHEMA), SCHEMA)[0], rows)
    kept = unpack_rows(SCHEMA, pack_all(SCHEMA, rows))
    assert same(kept, {name: values for name, values in rows.items() if name != "kind"})
    assert schema_from_json(SCHEMA.to_json()) == SCHEMA


def test_a_clip_a_picture_and_a_series_may_be_spelled_in_other_ways() -> None:
    given, rows = frame(), typed()
    series = [[[None if value != value else value for value in step] for step in one.tolist()] for one in given["load"]]
    for clips in ([wav(one) for one in given["clip"]], [one.tolist() for one in given["clip"]]):
        other = given.assign(
            clip=clips,
            photo=[png(one) for one in given["photo"]],
            load=[str(one).replace("None", "null") for one in series],
        )
        assert same(coerce(other, SCHEMA)[0], rows)


DAMAGED = write_wav(RATE, tone(300))[:-10]
STEREO = bytearray(write_wav(RATE, tone(300)))
STEREO[22] = 2


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("note", None, "is missing"),
        ("note", 7, "7 is not text"),
        ("note", "  ", "is empty"),
        ("note", "x" * 81, "has 81 characters, 80 are allowed"),
        ("note", "half \ud800", "not Unicode"),
        ("clip", None, "is not a clip"),
        ("clip", "tra la la", "not base64"),
        ("clip", b"no WAV at all", "is not a WAV file"),
        ("clip", DAMAGED, "cut short"),
        ("clip", bytes(STEREO), "2 channels"),
        ("clip", write_wav(16_000, tone(300)), "has 16000 samples a second, not 8000"),
        ("clip", tone(300, seconds=0.6), "lasts 0.6 s, 0.5 s are allowed"),
        ("clip", [], "without a sample"),
        ("clip", [40_000], "not whole numbers from -32768"),
        ("clip", [0.5], "not whole numbers"),
        ("load", [[1, 2]] * 3, "its shape is (3, 2), not (4, 2)"),
        ("load", [[1, 2], [1]] * 2, "steps differ in length"),
        ("load", [[1, "2"]] * 4, "its values are not numbers"),
        ("load", [[1, float("inf")]] * 4, "not finite at step 0 of south"),
        ("load", [[None, None]] * 4, "holds no number"),
        ("photo", png(np.zeros((2, 2), np.uint8)), "its shape is (2, 2), not (3, 2)"),
        ("photo", png(np.zeros((3, 2, 3), np.uint8)), "mode RGB"),
        ("photo", png(np.zeros((3, 2), np.uint8))[:40], "can't be read"),
    ],
)
def test_a_value_that_can_not_be_meant_is_left_out_with_its_reason(column: str, value: Any, reason: str) -> None:
    given = frame()
    given[column] = [*given[column][:2], value, *given[column][3:]]
    rows, misfits = coerce(given, SCHEMA)
    assert [at for at, _ in misfits] == [2]
    assert misfits[0][1].startswith(f"{column}: ")
    assert reason in misfits[0][1]
    assert length(rows) == 5


def test_a_gap_is_bad_data_unless_the_series_may_have_some() -> None:
    strict = Schema(
        columns={**SCHEMA.columns, "load": Series(length=4, channels=("north", "south"))}, target="kind", key="id"
    )
    _, misfits = coerce(frame(), strict)
    assert misfits == [(1, "load: has a gap at step 2 of north")]


def test_the_guards_of_every_kind_hold_of_good_rows_and_a_project_can_expect_more() -> None:
    from data.expectations import Expect

    rows = typed()
    assert validate(rows, SCHEMA, ()).good.all()
    quiet = Expect(type="ExpectColumnValuesToBeBetween", column="clip.duration", arguments={"min_value": 0.3})
    assert "no row meets" in str(validate(rows, SCHEMA, (quiet,)).refused)


def test_a_clip_is_described_by_what_is_heard() -> None:
    column = Audio(rate=RATE, seconds=0.5)
    silence = np.zeros(400, np.int16)
    clips = [tone(1000), tone(1000, loud=0.05), np.concatenate([tone(3000, 0.05), silence, tone(3000, 0.05)]), silence]
    found = describe({"clip": column}, {"clip": np.stack([column.padded(one) for one in clips])})
    assert list(found) == list(described({"clip": column}))
    assert found["clip.duration"] == pytest.approx([0.25, 0.25, 0.15, 0.0], abs=0.002)
    assert found["clip.loudness"][:2] == pytest.approx([-9.03, -29.03], abs=0.1)
    assert found["clip.loudness"][3] == -100
    assert found["clip.peak"][:2] == pytest.approx([0.5, 0.05], abs=0.001)
    assert found["clip.centroid"][:3] == pytest.approx([1000, 1000, 3000], rel=0.02)
    assert found["clip.silence"][[0, 3]].tolist() == [0, 0]
    assert found["clip.silence"][2] == pytest.approx(1 / 3, abs=0.15)


def test_a_text_and_a_series_are_described_by_few_numbers() -> None:
    columns: dict[str, Column] = {"note": Text(), "load": Series(length=4, channels=("x",), nullable=True)}
    note = np.empty(1, dtype=object)
    note[:] = ["Not bad, at all!"]
    found = describe(columns, {"note": note, "load": np.array([[[1.0], [np.nan], [3.0], [5.0]]])})
    assert list(found) == list(described(columns))
    assert found["note.characters"] == 16
    assert found["note.words"] == 6  # marks stand by themselves
    assert found["note.symbols"] == pytest.approx(2 / 13)
    assert [found[f"load.x.{part}"][0] for part in ("mean", "last", "trend")] == [3.0, 5.0, 3.0]
    assert found["load.gaps"] == 0.25


def test_words_that_training_hardly_saw_are_unknown_and_their_share_is_watched() -> None:
    notes = np.empty(3, dtype=object)
    notes[:] = ["a good film", "a bad film", "an odd play"]
    words = Vocabulary.fit(notes)
    assert words.known == ("a", "film")
    assert words.encode(["Film a flop"]).tolist() == [[3, 2, 1, 0, 0, 0, 0, 0]]
    assert words.unknown(notes) == pytest.approx([1 / 3, 1 / 3, 1.0])
    assert Vocabulary.from_json(words.to_json()) == words


def test_how_far_the_microphone_stood_makes_no_difference_to_a_spectrum() -> None:
    near, far = log_mel(tone(900)[None], RATE), log_mel(tone(900, loud=0.1)[None], RATE)
    assert near.shape == (1, 40, 26)
    assert np.abs(near - far).max() < 0.1
    assert near.max() == 1.0
    assert near[0, :, 13].argmax() < log_mel(tone(2500)[None], RATE)[0, :, 13].argmax()
    assert (log_mel(np.zeros((1, 2000), np.int16), RATE) == -1).all()


def test_the_encoder_gives_each_kind_its_own_input_and_reads_back_equal() -> None:
    rows = typed()
    encoder = Encoder.fit(SCHEMA, None, rows)
    inputs = encoder.encode(rows)
    assert list(inputs) == list(encoder.spec.inputs) == ["image", "audio", "series", "text"]
    for name, (shape, kind) in encoder.spec.inputs.items():
        assert (inputs[name].shape, str(inputs[name].dtype)) == ((6, *shape), kind)
    assert inputs["series"][1, 2].tolist() == [
        0.0,
        pytest.approx(inputs["series"][1, 2, 1]),
        1.0,
        0.0,
    ]  # a gap, flagged
    again = Encoder.from_json(encoder.to_json())
    assert all((again.encode(rows)[name] == values).all() for name, values in inputs.items())
    assert set(encoder.describe(rows)) == set(encoder.described) > {"note.unknown", "clip.loudness", "load.north.trend"}


@pytest.mark.parametrize("other", [Series(length=5, channels=("x",)), Audio(seconds=2.0), Image(height=9, width=2)])
def test_arrays_of_one_kind_must_have_one_size(other: Column) -> None:
    schema = Schema(columns={**SCHEMA.columns, "other": other}, target="kind", key="id")
    rows = {**typed(), "other": np.zeros((6, *other.shape), other.dtype)}  # type: ignore[union-attr]
    with pytest.raises(BadDeclaration, match=f"{type(other).__name__} columns"):
        Encoder.fit(schema, None, rows)


def test_the_example_of_a_request_is_read_as_it_stands_and_packs_to_the_same_bytes() -> None:
    example = example_of(row_schema(SCHEMA))
    reader = RowReader(SCHEMA)
    read = reader.read([example], 10)
    columns = reader.columns(read)
    assert columns["clip"].shape == (1, 4000)
    assert columns["clip"].any()
    assert ListPacker(SCHEMA).pack(read[0].id, read[0].entity, None, read[0].values) == pack_all(SCHEMA, columns)[0]


def test_rows_of_every_kind_survive_the_way_through_a_request_in_json() -> None:
    number = {"price": Number(nullable=True)}
    schema = dataclasses.replace(SCHEMA, columns={**SCHEMA.columns, **number}, time="at")
    rows = {
        **typed(),
        "price": np.array([1.5, np.nan, 2, 3, 4, 5]),
        "at": np.array(["2026-01-02"] * 6, "datetime64[us]"),
    }
    reader = RowReader(schema)
    read = reader.columns(reader.read(orjson.loads(orjson.dumps(asked(schema, rows))), 10))
    assert same({name: values for name, values in rows.items() if name != "kind"}, read)
    labels = told(schema, rows, rows["at"])
    assert labels[1] == {"id": "row-1", "label": "b", "time": "2026-01-02T00:00:00.000000Z"}


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("note", " ", "rows[0].note: is empty"),
        ("note", ["x"], "rows[0].note: text expected, not a list"),
        ("clip", "????", "rows[0].clip: is not a clip"),
        ("clip", [1, 2], "rows[0].clip: text expected, not a list"),
        ("clip", wav(tone(300), 4000), "rows[0].clip: has 4000 samples a second"),
        ("load", [[1, 2], [1, 2], [1, True], [1, 2]], "rows[0].load[2][1]: a number expected, not true or false"),
        ("load", [[1, 2], [1, 2], [1]], "rows[0].load[2]: a list of 2 numbers expected, not 1 values"),
        ("load", [[1, 2]], "rows[0].load: its shape is (1, 2), not (4, 2)"),
        ("photo", "AAAA", "rows[0].photo: is not a PNG file"),
    ],
)
def test_a_request_with_a_bad_value_says_where_and_why(name: str, value: Any, where: str) -> None:
    example = {**example_of(row_schema(SCHEMA)), name: value}
    with pytest.raises(BadRow) as refused:
        RowReader(SCHEMA).read([example], 10)
    assert str(refused.value).startswith(where)


def test_a_picture_may_be_sent_as_a_png() -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(3, 2) * 40
    example = {**example_of(row_schema(SCHEMA)), "photo": png(pixels)}
    reader = RowReader(SCHEMA)
    assert (reader.columns(reader.read([example], 1))["photo"][0] == pixels).all()


def test_a_file_of_rows_to_score_is_read_as_the_service_would() -> None:
    given = frame().drop(columns="kind")
    given["note"] = ["", *given["note"][1:]]
    found = read_requests(given, SCHEMA, "today")
    assert found.positions.tolist() == [1, 2, 3, 4, 5]
    assert found.unfit == {0: "note: is empty"}


@pytest.mark.parametrize(
    ("name", "after", "said"),
    [
        ("note", Text(longest=60), "at most 60 characters"),
        ("clip", Audio(rate=16_000, seconds=0.5), "16000 samples a second"),
        ("clip", Audio(rate=RATE, seconds=0.4), "at most 0.4 s"),
        ("load", Series(length=4, channels=("north",), nullable=True), "the channels north"),
        ("load", Series(length=4, channels=("north", "south")), "no longer have gaps"),
        ("photo", Text(), "is a Text and was a Image"),
    ],
)
def test_a_candidate_that_takes_less_than_the_champion_is_incompatible(name: str, after: Column, said: str) -> None:
    other = Schema(columns={**SCHEMA.columns, name: after}, target="kind", key="id")
    assert any(said in one for one in incompatibilities(SCHEMA, other))


def test_a_wav_reads_back_with_any_chunks_around_its_sound() -> None:
    sound = tone(440)
    plain = write_wav(RATE, sound)
    assert (read_wav(plain)[1] == sound).all()
    noted = plain[:12] + b"LIST\x03\x00\x00\x00abc\x00" + plain[12:]
    assert (read_wav(noted)[1] == sound).all()
    with pytest.raises(ValueError, match="without sound"):
        read_wav(plain[:36])
