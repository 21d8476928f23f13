"""Pieces of words as numbers, as a pretrained encoder was taught them. Needs numpy only, also when serving.

WordPiece (Schuster & Nakajima 2012, Japanese and Korean voice search) as BERT has it (Devlin et al. 2018,
arXiv:1810.04805): a word is cut from its start into the longest pieces that are known.
"""

import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import BadDeclaration
from models.declarations import Model
from models.hub import found
from models.vocabulary import LONGEST, STEP

PRETRAINED = "pretrained"  # the network's name
WEIGHTS = "model.safetensors"
START, END, NOTHING, UNKNOWN = "[CLS]", "[SEP]", "[PAD]", "[UNK]"
GOING_ON = "##"  # before a piece that does not begin its word
LONGEST_WORD = 100  # characters; a longer one is unknown
IDEOGRAPHS = (
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0x2F800, 0x2FA1F)),
)
ASCII_MARKS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
SHAPES = {
    "bert": {
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "inner": "intermediate_size",
        "activation": "hidden_act",
    },
    "distilbert": {
        "width": "dim",
        "layers": "n_layers",
        "heads": "n_heads",
        "inner": "hidden_dim",
        "activation": "activation",
    },
}
"""What each kind of encoder calls its measures in its config.json."""


@dataclass(frozen=True)
class Pieces:
    """The pieces that a text column's codes stand for, how a text is cut into them, and what reads them.

    `places`: codes of a text, its marks of start and end included; `shape`: of the encoder (models/pretrained.py);
    `weights`: hash of its weights as they were found.
    """

    known: tuple[str, ...]
    places: int
    lower: bool
    bare: bool  # accents are taken off
    apart: bool  # ideographs stand each by itself
    shape: Mapping[str, Any]
    weights: str

    @classmethod
    def fit(cls, texts: np.ndarray, folder: str) -> "Pieces":
        """Read a folder's pieces, and learn the length of the longest training text.

        Raises: BadDeclaration for a folder that holds no encoder that we can read; SourceUnavailable.
        """
        path = found(folder)
        shape, (known, lower, bare, apart) = shape_of(path), cut_of(path)
        if missing := [mark for mark in (START, END, NOTHING, UNKNOWN) if mark not in known]:
            raise BadDeclaration(f"{path}: its vocabulary lacks {', '.join(missing)}")
        if len(known) > shape["vocabulary"]:  # else a text with one of the others would fail whoever asks beside it
            raise BadDeclaration(f"{path} has {len(known)} pieces, and numbers for {shape['vocabulary']}")
        if not (path / WEIGHTS).is_file():
            raise BadDeclaration(f"{path} has no {WEIGHTS}; weights that are pickles are not read: save it anew")
        with (path / WEIGHTS).open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        shape["nothing"] = known.index(NOTHING)  # the code after a text's end
        most = min(LONGEST, shape["positions"])
        made = cls(known, most, lower, bare, apart, shape, weights)
        longest = max((len(made.codes(text)) for text in texts.tolist()), default=2)
        return cls(known, min(most, -(-longest // STEP) * STEP), lower, bare, apart, shape, weights)

    def __len__(self) -> int:
        return len(self.known)

    @cached_property
    def table(self) -> dict[str, int]:
        """The code of each piece."""
        return {piece: code for code, piece in enumerate(self.known)}

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return the codes (N, places) int64 of each text's start, first pieces and end."""
        made = np.full((len(texts), self.places), self.table[NOTHING], dtype=np.int64)
        for at, text in enumerate(texts):
            codes = self.codes(text)
            made[at, : len(codes)] = codes
        return made

    def codes(self, text: str) -> list[int]:
        """Return a text's codes, as many as there are places at most."""
        made = [self.table[START]]
        for word in self.words(text):
            if len(made) >= self.places:
                break
            made += self.cut(word)
        return [*made[: self.places - 1], self.table[END]]

    def cut(self, word: str) -> list[int]:
        """Return the codes of a word's pieces, or of one unknown word where the pieces don't make it up."""
        made: list[int] = []
        start = 0
        while start < len(word) <= LONGEST_WORD:
            before = GOING_ON if start else ""
            ends = (end for end in range(len(word), start, -1) if before + word[start:end] in self.table)
            end = next(ends, None)
            if end is None:
                break
            made.append(self.table[before + word[start:end]])
            start = end
        return made if start == len(word) else [self.table[UNKNOWN]]

    def words(self, text: str) -> Iterator[str]:
        """Yield a text's words, its marks by themselves, as the encoder was taught to write them."""
        clean = "".join(" " if one.isspace() else one for one in text if not hidden(one))
        if self.apart:
            clean = "".join(f" {one} " if ideograph(one) else one for one in clean)
        if self.bare:
            clean = "".join(one for one in unicodedata.normalize("NFD", clean) if unicodedata.category(one) != "Mn")
        if self.lower:
            clean = "".join(map(str.lower, clean))  # one by one: a word's last sigma is like any other
        yield from "".join(f" {one} " if mark(one) else one for one in clean).split()

    def unknown(self, texts: np.ndarray) -> np.ndarray:
        """Return the share (N,) of each text's words that no pieces make up."""
        said = [list(self.words(text)) for text in texts.tolist()]
        lost = [self.table[UNKNOWN]]
        found = [sum(self.cut(word) == lost for word in one) / max(len(one), 1) for one in said]
        return np.array(found, dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Pieces":
        """Undo `to_json`."""
        return cls(**{**stored, "known": tuple(stored["known"])})


def folder_of(model: Model | None) -> str | None:
    """Return where a model's pretrained encoder is; None for another network.

    Raises: BadDeclaration where the model does not say it.
    """
    if model is None or model.network != PRETRAINED:
        return None
    folder = model.options.get("folder")
    if not isinstance(folder, str) or not folder:
        raise BadDeclaration("network 'pretrained' needs options={'folder': a folder, or NAME@REVISION of the hub}")
    return folder


def shape_of(folder: Path) -> dict[str, Any]:
    """Return an encoder's measures from its config.json.

    Raises: BadDeclaration for a kind that we don't know.
    """
    config = read_json(folder / "config.json")
    kind = str(config.get("model_type"))
    if kind not in SHAPES or config.get("position_embedding_type", "absolute") != "absolute":
        raise BadDeclaration(f"{folder}: model_type {kind!r} can't be read; known: {', '.join(SHAPES)}")
    try:
        measures = {ours: config[theirs] for ours, theirs in SHAPES[kind].items()}
        ends = {"positions": config["max_position_embeddings"], "vocabulary": config["vocab_size"]}
    except KeyError as error:
        raise BadDeclaration(f"{folder / 'config.json'} says no {error}") from error
    for name, value in {**measures, **ends}.items():
        if name != "activation" and (type(value) is not int or value < 1):
            raise BadDeclaration(f"{folder / 'config.json'}: {name} {value!r} is no whole number above 0")
    return {"kind": kind, **measures, **ends, "epsilon": float(config.get("layer_norm_eps", 1e-12))}


def cut_of(folder: Path) -> tuple[tuple[str, ...], bool, bool, bool]:
    """Return an encoder's pieces, whether it writes small letters, without accents, and ideographs apart.

    Raises: BadDeclaration for texts that are cut in another way.
    """
    if (folder / "tokenizer.json").is_file():
        stored = read_json(folder / "tokenizer.json")
        how, model = stored.get("normalizer") or {}, stored.get("model") or {}
        if model.get("type") != "WordPiece" or how.get("type") != "BertNormalizer":
            raise BadDeclaration(f"{folder / 'tokenizer.json'}: only BERT's WordPiece can be read")
        codes = model.get("vocab")
        if not isinstance(codes, dict):
            raise BadDeclaration(f"{folder / 'tokenizer.json'} holds no vocabulary")
        lower, apart, bare = how.get("lowercase", True), how.get("handle_chinese_chars", True), how.get("strip_accents")
    else:
        try:
            lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise BadDeclaration(f"{folder} has neither tokenizer.json nor a vocab.txt in UTF-8") from error
        codes = {piece.rstrip("\r"): code for code, piece in enumerate(lines[: -1 if not lines[-1] else None])}
        how = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
        lower, apart = how.get("do_lower_case", True), how.get("tokenize_chinese_chars", True)
        bare = how.get("strip_accents")
    known = tuple(sorted(codes, key=lambda piece: codes[piece]))
    if [codes[piece] for piece in known] != list(range(len(known))):
        raise BadDeclaration(f"{folder}: the codes of its pieces are not 0 to {len(known) - 1}")
    return known, bool(lower), bool(lower if bare is None else bare), bool(apart)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises: BadDeclaration.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadDeclaration(f"{path} can't be read: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(stored, dict):
        raise BadDeclaration(f"{path} holds no JSON object")
    return stored


def hidden(one: str) -> bool:
    """Whether a character is none that is seen: a control, or what stands for one that could not be read."""
    return one in "\0\ufffd" or (one not in "\t\n\r" and unicodedata.category(one)[0] == "C")


def ideograph(one: str) -> bool:
    """Whether a character is a word by itself."""
    return one > "\u33ff" and any(first <= ord(one) <= last for first, last in IDEOGRAPHS)


def mark(one: str) -> bool:
    """Whether a character is a mark and not part of a word."""
    return one in ASCII_MARKS or (one > "\x7f" and unicodedata.category(one)[0] == "P")
