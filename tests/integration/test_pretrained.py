"""An encoder that was trained elsewhere, from its folder to an answer of the service."""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from pretrained_parts import PIECES, write_folder
from safetensors.torch import load_file, save_file
from serving_parts import point, serving

from data.errors import BadDeclaration, Corrupt, SourceUnavailable
from data.schema import Category, Rows, Schema, Text
from models.declarations import Model, Training
from models.encoding import Encoder
from models.hub import found
from models.networks import build
from models.pieces import Pieces
from models.predictor import read_version
from models.pretrained import Taught, taught
from models.training import Trained, fit
from models.writing import make_version
from projects import discovery

SAID = Schema(
    columns={"said": Text(longest=200), "kind": Category(levels=("high", "low"))},
    target="kind",
    key="id",
)
GOOD, BAD, FILLING = ("good", "fine", "lovely"), ("bad", "poor", "dreadful"), PIECES[4:13]
TEXTS = ("The film is unGOODing!", "Über café 中film\u200b\x07", "x" * 101 + " ΟΔΟΣ, bad")
# what transformers 5.23 makes of TEXTS with the folder's weights: of the start, and of all pieces in the mean
STARTS = {
    "bert": [(2.46077, -0.2677, -1.16994), (2.73876, 0.04382, -1.18192), (2.7766, -0.02278, -1.14692)],
    "distilbert": [(0.73351, 0.77597, -1.22266), (0.67751, 0.75178, -1.24276), (0.71424, 0.76912, -1.22157)],
}
MEANS = {
    "bert": [(2.58722, -0.15705, -1.19347), (2.80723, 0.14612, -1.19318), (2.84142, 0.01681, -1.16873)],
    "distilbert": [(0.68851, 0.75301, -1.26126), (0.67213, 0.75078, -1.24792), (0.67036, 0.67233, -1.2527)],
}


def objects(*texts: str) -> np.ndarray:
    return np.array(texts, dtype=object)


def rows_of(count: int, seed: int) -> Rows:
    generator = np.random.default_rng(seed)
    truth = generator.random(count) < 0.5
    said = [" ".join([*generator.choice(FILLING, 5), generator.choice(GOOD if high else BAD)]) for high in truth]
    return {
        "id": objects(*(f"row-{seed}-{at}" for at in range(count))),
        "said": objects(*said),
        "kind": np.where(truth, "high", "low").astype(object),
    }


def learned(model: Model, workdir: Path, epochs: int = 1) -> tuple[Encoder, Trained]:
    rows = rows_of(200, 0)
    encoder = Encoder.fit(SAID, None, rows, model)
    training = Training(epochs=epochs, batch_size=16, learning_rate=3e-3, device="cpu", patience=epochs)
    return encoder, fit(model, training, encoder, rows, workdir=workdir, progress=lambda _: None)


def given(folder: str, **options: Any) -> Model:
    return Model(network="pretrained", options={"folder": folder, **options})


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_text_comes_to_what_the_library_that_wrote_the_encoder_makes_of_it(kind: str, tmp_path: Path) -> None:
    model = given(write_folder(tmp_path, kind))
    rows = {"id": objects("a", "b", "c"), "said": objects(*TEXTS), "kind": objects("high", "low", "low")}
    encoder = Encoder.fit(SAID, None, rows, model)
    network = build(model, encoder.spec).eval()
    weights = taught(model, encoder)
    assert weights is not None
    network.load_state_dict(weights, strict=False)
    trunk = network.trunks["text"]
    assert isinstance(trunk, Taught)
    with torch.no_grad():
        came = trunk(torch.from_numpy(encoder.encode(rows)["text"])).numpy()
    width = came.shape[1] // 2
    assert np.abs(came[:, :3] - STARTS[kind]).max() < 2e-5
    assert np.abs(came[:, width : width + 3] - MEANS[kind]).max() < 2e-5


def test_texts_are_cut_as_the_library_cuts_them_and_no_text_can_say_a_mark(tmp_path: Path) -> None:
    pieces = Pieces.fit(objects(*TEXTS), write_folder(tmp_path))
    cut = [" ".join(PIECES[code] for code in row if code) for row in pieces.encode(list(TEXTS))]
    assert cut == [
        "[CLS] the film is un ##good ##ing ! [SEP]",
        "[CLS] uber cafe 中 film [SEP]",
        "[CLS] [UNK] \u03bf ##\u03b4 ##\u03bf ##\u03c3 , bad [SEP]",
    ]
    assert pieces.places == 16
    long, sneaky = pieces.encode(["good " * 40, "[SEP] bad"])
    assert (long[0], long[-1], len(long)) == (2, 3, 16)
    assert list(sneaky).count(3) == 1
    assert pieces.unknown(objects("good zebra", "bad")).tolist() == [0.5, 0.0]


def test_pieces_of_a_tokenizer_json_are_those_of_a_vocab_txt(tmp_path: Path) -> None:
    write_folder(tmp_path / "old")
    folder = write_folder(tmp_path / "new")
    (tmp_path / "new" / "vocab.txt").unlink()
    model = {"type": "WordPiece", "vocab": {piece: code for code, piece in enumerate(PIECES)}}
    how = {"type": "BertNormalizer", "lowercase": True, "strip_accents": None, "handle_chinese_chars": True}
    (tmp_path / "new" / "tokenizer.json").write_text(json.dumps({"normalizer": how, "model": model}))
    assert Pieces.fit(objects(*TEXTS), folder) == Pieces.fit(objects(*TEXTS), str(tmp_path / "old"))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_stays_as_it_is_and_another_is_learned_on(frozen: bool, tmp_path: Path) -> None:
    model = given(write_folder(tmp_path / "encoder"), frozen=frozen)
    encoder, trained = learned(model, tmp_path / "work")
    start = taught(model, encoder)
    assert start is not None
    after = trained.network.state_dict()
    same = [torch.equal(after[name], tensor) for name, tensor in start.items()]
    assert all(same) if frozen else not any(same)
    again = learned(model, tmp_path / "again")[1].network.state_dict()
    assert all(torch.equal(after[name], again[name]) for name in after)


def test_a_version_answers_through_the_service_without_the_folder_that_it_started_from(tmp_path: Path) -> None:
    model = given(write_folder(tmp_path / "encoder"), frozen=False, dropout=0.0)
    encoder, trained = learned(model, tmp_path / "work", epochs=12)
    shutil.rmtree(tmp_path / "encoder")
    folder = tmp_path / "home" / "generations" / "said" / "1"
    folder.mkdir(parents=True)
    made = make_version(
        folder, model=model, network=trained.network, encoder=encoder, rows=rows_of(40, 0), project=None
    )
    assert not made.worker
    predictor, fresh = read_version(folder), rows_of(200, 1)
    found = predictor.predict(fresh)
    assert (found.predictions == fresh["kind"]).mean() > 0.9
    alone = predictor.predict_lists([[text] for text in fresh["said"].tolist()])
    assert np.abs(alone.values - found.values).max() < 1e-6
    assert predictor.embed(fresh).shape == (200, 16)
    assert "said.unknown" in predictor.monitored
    point(tmp_path / "home", "said", 1, made.manifest)
    with serving(tmp_path / "home") as service:
        asked = {
            "rows": [
                {"id": "now", "said": "the film was really long LOVELY"},
                {"id": "then", "said": "a play and so long dreadful"},
            ]
        }
        answer = httpx.post(f"{service.url}/v1/said/predict", json=asked)
    assert [one["class"] for one in answer.json()["predictions"]] == ["high", "low"]


def test_a_torch_worker_could_build_the_network_again_without_the_folder(tmp_path: Path) -> None:
    model = given(write_folder(tmp_path / "encoder"))
    encoder, trained = learned(model, tmp_path / "work")
    shutil.rmtree(tmp_path / "encoder")
    kept = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert kept == encoder
    build(model, kept.spec).load_state_dict(trained.network.state_dict())


WORDPIECE = {"model": {"type": "WordPiece"}, "normalizer": {"type": "BertNormalizer"}}
STRANGE = {
    "another kind": ("config.json", b'{"model_type": "t5"}'),
    "half a file": ("config.json", b"{"),
    "other pieces": ("tokenizer.json", b'{"model": {"type": "BPE"}, "normalizer": null}'),
    "no vocabulary": ("tokenizer.json", json.dumps(WORDPIECE).encode()),
    "other letters": ("vocab.txt", b"\xff\xfe"),
    "no marks": ("vocab.txt", b"the\nfilm\n"),
    "pieces without numbers": ("vocab.txt", "\n".join([*PIECES, "zebra"]).encode()),
}


def broken(folder: Path, how: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    if how in STRANGE:
        name, content = STRANGE[how]
        (folder / name).write_bytes(content)
    elif how == "a measure less":
        config.pop("hidden_size")
        (folder / "config.json").write_text(json.dumps(config))
    elif how == "a word as a measure":
        (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": "many"}))
    elif how == "no pieces":
        (folder / "vocab.txt").unlink()
    else:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("another kind", "model_type 't5' can't be read; known: bert, distilbert"),
        ("a measure less", "says no 'hidden_size'"),
        ("other pieces", "only BERT's WordPiece"),
        ("no pieces", "neither tokenizer.json nor a vocab.txt"),
        ("no marks", r"its vocabulary lacks \[CLS\]"),
        ("no vocabulary", "holds no vocabulary"),
        ("a word as a measure", "positions 'many' is no whole number"),
        ("other letters", "nor a vocab.txt in UTF-8"),
        ("pieces without numbers", f"has {len(PIECES) + 1} pieces, and numbers for {len(PIECES)}"),
        ("a pickle", "has no model.safetensors; weights that are pickles are not read"),
        ("half a file", "config.json can't be read"),
    ],
)
def test_a_folder_that_holds_no_encoder_we_read_is_refused_before_training(how: str, why: str, tmp_path: Path) -> None:
    model = given(write_folder(tmp_path))
    broken(tmp_path, how)
    with pytest.raises(BadDeclaration, match=why):
        Encoder.fit(SAID, None, rows_of(10, 0), model)


def test_what_a_model_leaves_out_or_a_schema_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadDeclaration, match="needs options="):
        Encoder.fit(SAID, None, rows_of(10, 0), Model(network="pretrained"))
    with pytest.raises(BadDeclaration, match="no folder"):
        Encoder.fit(SAID, None, rows_of(10, 0), given("/nowhere/at/all"))
    with pytest.raises(BadDeclaration, match="needs a Text column"):
        build(given(str(tmp_path)), Encoder.fit(SAID, None, rows_of(10, 0)).spec)


def test_weights_that_changed_since_the_rows_were_prepared_are_refused(tmp_path: Path) -> None:
    model = given(write_folder(tmp_path))
    encoder = Encoder.fit(SAID, None, rows_of(10, 0), model)
    write_folder(tmp_path, seed=1)
    with pytest.raises(Corrupt):
        taught(model, encoder)


def test_weights_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    model = given(write_folder(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"<html>not found</html>")
    encoder = Encoder.fit(SAID, None, rows_of(10, 0), model)
    with pytest.raises(BadDeclaration, match=r"model\.safetensors can't be read"):
        taught(model, encoder)


def test_weights_that_lack_a_layer_or_have_another_size_are_refused_by_name(tmp_path: Path) -> None:
    model, path = given(write_folder(tmp_path / "a")), tmp_path / "a" / "model.safetensors"
    tensors = load_file(path)
    name = "encoder.layer.1.output.dense.weight"
    save_file({other: tensor for other, tensor in tensors.items() if other != name}, path)
    with pytest.raises(BadDeclaration, match=f"lacks '{name}'"):
        learned(model, tmp_path / "work")
    save_file({**tensors, name: torch.zeros(3, 3)}, path)
    with pytest.raises(BadDeclaration, match=r"another network's.*blocks\.1\.narrow\.weight"):
        learned(model, tmp_path / "work")


class Hub(SimpleHTTPRequestHandler):
    """A hub that serves one encoder, and notes what it was asked for."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.path = self.path.removeprefix("/team/tiny/resolve/v1")
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    write_folder(tmp_path / "served")

    class Asked(Hub):
        asked: list[str] = []  # noqa: RUF012

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Asked, directory=str(tmp_path / "served")))
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path / "home"))
    yield Asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_revision_of_the_hub_is_fetched_once_and_again_after_a_kill_half_way(hub: type[Hub], tmp_path: Path) -> None:
    folder = found("team/tiny@v1")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    asked = len(hub.asked)
    assert found("team/tiny@v1") == folder
    assert len(hub.asked) == asked
    (folder / "config.json").unlink()  # as a kill leaves it
    assert Pieces.fit(objects("good"), "team/tiny@v1") == Pieces.fit(objects("good"), str(tmp_path / "served"))


def test_what_the_hub_does_not_have_is_said_and_nothing_half_is_kept(hub: type[Hub], tmp_path: Path) -> None:
    (tmp_path / "served" / "model.safetensors").unlink()
    with pytest.raises(SourceUnavailable, match=r"model\.safetensors can't be fetched .*404.*: name a folder"):
        found("team/tiny@v1")
    kept = tmp_path / "home" / "pretrained" / "team--tiny@v1"
    assert [path.name for path in kept.iterdir()] == ["vocab.txt"]
    with pytest.raises(BadDeclaration, match="NAME@REVISION"):
        found("team/tiny")  # a name without a revision may be another encoder tomorrow


def test_sentiment_reads_by_the_encoder_that_a_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(discovery.shipped()["sentiment"].path, tmp_path / "sentiment.py")
    monkeypatch.setenv("SENTIMENT_ENCODER", write_folder(tmp_path / "encoder"))
    project = discovery.load("sentiment", (tmp_path,))
    assert project.model == given(str(tmp_path / "encoder"), frozen=False)
    rows = {"sentence": objects("a good film", "a bad film"), "sentiment": objects("positive", "negative")}
    rows["key"] = objects("1", "2")
    encoder = Encoder.fit(project.schema, None, rows, project.model)
    assert isinstance(encoder.vocabularies["sentence"], Pieces)
