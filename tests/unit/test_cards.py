import copy
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import Corrupt
from models import card_value
from models.card_page import page
from models.card_pictures import confusion_png, draw
from models.cards import LONGEST, beneath, body, description, markdown
from models.curves import curves
from models.metrics import score
from models.residuals import residuals

EVIL = "</script><script>alert(1)</script> [x](javascript:1) | `a` \"onload='b' <img src=x onerror=c>"
FOUND: dict[str, Any] = {
    "metric": "accuracy",
    "judge": {"accuracy": {"value": 0.971, "low": 0.955, "high": 0.982}, "roc_auc": {"value": 0.99}},
    "anchor": {"accuracy": {"value": 0.968, "low": 0.95, "high": 0.98}},
    "baseline": 0.104,
    "baselines": {"trivial": 0.104, "linear": 0.91, "tree": 0.93},
    "beside": {
        "trivial": {"value": 0.104, "gain": 0.867, "low": 0.84, "high": 0.89, "seconds": 0.0, "mb": 0.0},
        "tree": {"value": 0.93, "gain": 0.041, "low": 0.02, "high": 0.0623, "seconds": 0.81, "mb": 2.25},
    },
    "curves": {
        "roc": [[0.0, 0.0], [0.1, 0.9], [1.0, 1.0]],
        "precision_recall": [[0.1, 1.0], [1.0, 0.5]],
        "calibration": [[0.2, 0.1, 41], [0.9, 0.95, 41]],
        "share": 0.5,
        "about": "nine",
    },
    "rows": {"judge": 412, "train": 1200, "anchor": 300},
    "slices": [
        {"slice": "camera=a", "rows": 300, "value": 0.98, "low": 0.96, "high": 0.99},
        {"slice": "camera=b", "rows": 112, "value": 0.9, "low": 0.8, "high": 0.95},
    ],
    "detectable": {"rows": 412, "change": 0.03, "sentence": "412 labels can show a gain of 3.0 points or more"},
    "latency_ms": 0.31,
    "size_mb": 1.4,
    "anchor_version": "ab12",
    "confusion": [[200, 7], [5, 200], [0, 0]],
    "levels": ["8", "nine"],
}
BINS = [
    {"answer": n, "rows": 20, "low": -2.0, "quarter": -1, "middle": 0.1, "three_quarters": 1, "high": 2.5}
    for n in (1, 2, 5)
]
REGRESSION: dict[str, Any] = {
    "metric": "mae",
    "judge": {"mae": {"value": 3.2, "low": 3.0, "high": 3.5}},
    "baseline": 9.0,
    "rows": {"judge": 60, "train": 100},
    "residuals": BINS,
}
EPOCH = {"number": 1, "epochs": 2, "train_loss": 0.3, "validation_loss": 0.12, "seconds": 3.0}
HISTORY = {"epochs": [EPOCH, {**EPOCH, "number": 2, "validation_loss": 0.2}], "difference": 1e-7}
FLOOR = {"gate": "floor:accuracy", "result": "passed", "value": 0.971, "threshold": 0.5, "interval": None, "rows": 412}
BETTER = {"gate": "better", "result": "failed", "value": -0.008, "threshold": 0.0, "interval": [-0.015, "nan"]}
GATES = [{**FLOOR, "sentence": "accuracy 0.971"}, {**BETTER, "rows": 412, "sentence": "better: less by 0.8"}]
REFERENCE = {
    "generation": 3,
    "rows": 1000,
    "origin": "412 that judged it",
    "held_out": 412,
    "columns": 2,
    "broken": {"b": "constant"},
    "asked": 1.0,
    "detectable": {"size": "0.3 standard deviations"},
    "calibration": {"rows": 200, "threshold": 3.1, "basis": "1 false incident a quarter"},
}


def made(found: dict[str, Any] = FOUND, **changes: Any) -> card_value.Card:
    given: dict[str, Any] = {
        "project": "digits",
        "run": "f00",
        "experiment": "1",
        "made_at": datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
        "purpose": {
            "task": "classification",
            "target": "digit",
            "inputs": {"image": "a picture"},
            "sensitive": ["age"],
        },
        "found": found,
        "history": HISTORY,
        "parameters": {"training.epochs": "2"},
        "snapshot": {
            "hash": "0f" * 16 + ".dir",
            "rows": 1912,
            "revision": "c0de",
            "files": [{"name": "2026-01.parquet"}],
        },
        "facts": {"snapshot": "0f" * 16 + ".dir", "code": "ab" * 32, "lock": "cd" * 32, "seed": "0"},
    }
    return card_value.compose(**{**given, **changes})


def judged(found: dict[str, Any] = FOUND) -> card_value.Card:
    term = {
        "generation": 3, "since": "2026-03-02T08:00:00+00:00", "until": None, "by": "ann", "why": "it is better",
        "waived": ["better"], "rollback": False,
    }  # fmt: skip
    verdict = {
        "outcome": "kept",
        "sentence": "KEPT: less by 0.8",
        "at": "2026-03-01T13:00:00+00:00",
        "against": "6",
        "gates": GATES,
    }
    later = {"version": "7", "verdict": verdict, "generations": [term], "reference": REFERENCE}
    return {**made(found), **later, "reproduce": "holdfast verify digits@7"}


class Reader(HTMLParser):
    """Keeps the text, and refuses what a page of ours never has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "iframe", "object", "link", "a")
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        if tag not in ("meta", "line", "rect", "circle", "polyline", "polygon"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "rect", "circle", "polyline", "polygon"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def text(self) -> str:
        assert self.open == []
        return " ".join(" ".join(self.said).split())


def test_a_card_says_how_good_from_what_and_how_again() -> None:
    text = markdown(judged())
    assert r"0.971 \[0.955, 0.982\]" in text
    assert r"anchor rows \(300\)" in text
    for told in (
        "0f" * 16,
        "ab" * 32,
        "cd" * 32,
        "holdfast verify digits@7",
        "1e-07",
        "412 labels can show",
        "camera=b",
    ):
        assert told in text
    assert text.index("| accuracy |") < text.index("roc\\_auc")  # what decides stands first
    assert text.index("camera=b") < text.index("camera=a")  # the worst slice too
    assert "it is better; waived: better" in text
    assert "0.3 standard deviations" in text


def test_the_page_says_what_the_markdown_says() -> None:
    text = Reader(page(judged())).text
    for told in (
        "digits version 7",
        "serves as generation 3",
        "KEPT: less by 0.8",
        "0.971 [0.955, 0.982]",
        "holdfast verify digits@7",
        "camera=b",
        "tree 0.93 +4.1 points",
        "95 of 100 single rows were answered within 0.31 ms",
        "1.4 MB",
        "412 labels can show a gain of 3.0 points or more",
        "0.3 standard deviations",
        "score above 3.1 is drift",
        "b is not watched: constant",
        "value -0.008 · [-0.015, nan] · threshold 0 · 412 rows",
        "Declared sensitive: age",
    ):
        assert told in text, told


def test_a_card_says_what_deep_learning_adds_in_points_seconds_and_megabytes() -> None:
    card = judged()
    for said in (Reader(page(card)).text, markdown(card).replace("\\", "")):
        assert "the network's accuracy gains +4.1 points [+2, +6.23]: it is shown to be better" in said
        for cell in ("What deep learning adds", "+86.7 points", "0.81", "2.2 MB", "6 ", "1.4 MB"):
            assert cell in said, cell
    tied = copy.deepcopy(FOUND)
    tied["beside"]["tree"] |= {"value": 0.98, "gain": -0.009, "low": -0.02, "high": 0.002}
    assert "the rows can't tell the two apart" in markdown(made(tied))
    tied["beside"]["tree"]["high"] = -0.001
    assert "it is shown to be worse" in markdown(made(tied))


def test_curves_are_drawn_from_few_points_and_only_where_they_exist() -> None:
    drawn = page(judged())
    assert drawn.count("<figure>") == 3
    assert "ROC of nine" in drawn
    assert "How sure it is" not in page(judged(REGRESSION))
    rng = np.random.default_rng(0)
    sick = rng.random(900) < 0.3
    scores = 1 / (1 + np.exp(-rng.normal(size=900) - 1.5 * sick))
    values, truth = np.column_stack([1 - scores, scores]), np.where(sick, "yes", "no").astype(object)
    found = curves(truth, values, ("no", "yes"))
    assert found["roc"][0] == [0.0, 0.0]
    assert found["roc"][-1] == [1.0, 1.0]
    for name in ("roc", "precision_recall"):
        assert 20 < len(found[name]) <= 62
    area = np.trapezoid([up for _, up in found["roc"]], [across for across, _ in found["roc"]])
    assert area == pytest.approx(score("classification", truth, values, ("no", "yes"))["roc_auc"], abs=0.01)
    assert sum(rows for _, _, rows in found["calibration"]) == 900
    assert "roc" not in curves(np.full(900, "no", dtype=object), values, ("no", "yes"))
    assert curves(truth[:10], values[:10], ("no", "yes")) == {}


def test_pictures_of_an_evaluation_are_files_that_equal_numbers_make_equal(tmp_path: Path) -> None:
    names = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        some = [*draw(FOUND, tmp_path / folder, [(0.3, 0.4), (0.2, 0.3)]), *draw(REGRESSION, tmp_path / folder)]
        names.append({path.name: path.read_bytes() for path in some})
    assert names[0] == names[1]
    assert set(names[0]) == {"confusion.png", "curves.png", "learning.png", "residuals.png"}
    assert all(content.startswith(b"\x89PNG") for content in names[0].values())


def test_a_regression_has_its_residuals_drawn() -> None:
    drawn = page(judged(REGRESSION))
    assert "polygon" in drawn
    assert "truth minus answer" in Reader(drawn).text.lower()
    assert "How far off it is" in markdown(judged(REGRESSION))


def poisoned(value: Any) -> Any:
    """Put evil text in the place of every string, and beside every key of what the project names."""
    if isinstance(value, dict):
        return {key: poisoned(inner) for key, inner in value.items()} | ({EVIL: EVIL} if "image" in value else {})
    if isinstance(value, list):
        return [poisoned(inner) for inner in value]
    return EVIL if isinstance(value, str) else value


@pytest.mark.parametrize("found", [FOUND, REGRESSION])
def test_nothing_from_data_becomes_markup(found: dict[str, Any]) -> None:
    card = poisoned(judged(found))
    card["quality"]["metric"] = found["metric"]
    card["warnings"] = [EVIL]
    said = Reader(page(card)).text  # which refuses scripts, pictures, links and handlers
    assert "<script>alert(1)</script>" in said  # shown as text
    text = markdown(card)
    told = description(EVIL, [{"gate": EVIL, "result": EVIL, "sentence": EVIL}], beneath(card))
    (link,) = re.findall(r"\[The whole card\]\((#/experiments/\d*/runs/\w*/artifacts/card.html\?\w+=\w+)\)", told)
    for each in (text, told.replace(f"]({link})", "")):
        assert "<script" not in each
        assert "<img" not in each
        assert "](" not in each
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in lines} <= {3, 4, 6}  # no cell was split


def test_numbers_that_are_none_are_shown_by_name_and_kept_as_strict_json() -> None:
    found = copy.deepcopy(FOUND)
    found["judge"]["accuracy"] = {"value": float("nan"), "low": float("nan"), "high": float("inf")}
    found["slices"][0]["value"] = float("nan")
    card = made(found)
    assert "NaN" not in card_value.to_json(card)
    assert card["quality"]["judge"]["accuracy"]["value"] == "nan"
    assert r"nan \[nan, inf\]" in markdown(card)
    assert "nan [nan, inf]" in Reader(page(card)).text
    assert body(card).index("camera=a") < body(card).index("camera=b")  # no number is the worst number


def test_limits_name_simpler_models_that_do_as_well_and_sensitive_columns_without_slices() -> None:
    said = " ".join(made({**FOUND, "baselines": {"trivial": 0.104, "linear": 0.98, "tree": float("nan")}})["limits"])
    assert "the linear baseline has accuracy 0.98 on the judge rows, this one 0.971" in said
    assert "tree" not in said
    assert "Declared sensitive, and not among the slices: age." in said
    said = " ".join(made({**REGRESSION, "baselines": {"trivial": 9.0, "linear": 3.1}})["limits"])
    assert "the linear baseline has mae 3.1" in said
    assert "trivial" not in said


def test_a_card_without_its_parts_still_reads() -> None:
    card = made({}, history={}, parameters={}, snapshot={}, facts={}, purpose={})
    assert "has never served" in Reader(page(card)).text
    assert markdown(card).startswith("# digits\n\nCANDIDATE: not judged yet")
    bare = card_value.read(json.dumps({"format": 1, "project": "digits"}))
    assert "digits" in Reader(page(bare)).text
    assert markdown(bare).startswith("# digits")
    several = {key: value for key, value in FOUND.items() if key in ("metric", "judge", "baseline", "rows", "levels")}
    assert "accuracy of the trivial baseline 0.104" in Reader(page(made(several))).text


def test_a_card_reads_back_as_it_was_written_and_its_seal_ignores_what_comes_later() -> None:
    card = judged()
    assert card_value.read(card_value.to_json(card)) == card
    assert card_value.seal(card) == card_value.seal(made())
    forged = copy.deepcopy(card)
    forged["quality"]["judge"]["accuracy"]["value"] = 0.999
    assert card_value.seal(forged) != card_value.seal(card)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "[1]",
        '{"format": 2}',
        '{"format": 1, "quality": []}',
        '{"format": 1, "verdict": "passed"}',
        "[" * 100_000,
    ],
)
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(Corrupt):
        card_value.read(text)


@pytest.mark.parametrize("part", ["quality", "generations", "reference", "verdict"])
def test_a_card_whose_parts_were_bent_is_refused_and_no_bug(part: str) -> None:
    bent = copy.deepcopy(judged())
    bent[part] = {
        "quality": {"judge": [1], "metric": "accuracy"},
        "generations": [3],
        "reference": {"rows": {}},
        "verdict": {"gates": 3},
    }[part]
    for drawn in (page, markdown):
        with pytest.raises(Corrupt, match=r"card\.json"):
            drawn(bent)


def test_a_description_tabulates_the_gates_that_failed_first_and_keeps_columns_apart() -> None:
    gates = [
        {"gate": "floor:f1", "result": "passed", "value": 0.91234, "threshold": 0.5, "rows": 1204, "sentence": "f1"},
        {"gate": "better", "result": "failed", "value": "nan", "threshold": 0.0, "interval": [-0.01, 12345.6]},
    ]
    text = description("KEPT: a_b", gates, "| a | b |")
    cells = [line.split(" &emsp;| ") for line in text.splitlines()[2:]]
    assert cells == [
        ["| gate", "result", "value", "threshold", "interval", "rows |"],
        ["|---|---|---|---|---|---|"],
        ["| better", "failed", "nan", "0", r"\[-0.01, 12346\]", "- |"],
        [r"| floor:f1", "passed", "0.9123", "0.5", "-", "1,204 |"],
        [""],
        ["| a", "b |"],
    ]


def test_a_description_starts_with_the_verdict_and_leaves_whole_parts_out() -> None:
    text = "## Small\n\nall of it\n\n## Large\n\n" + "| a | b |\n" * 900 + "\n## Late\n\nlast"
    told = description("REFUSED: no better", [], text)
    assert told.splitlines()[0] == "REFUSED: no better"
    assert len(told) <= LONGEST
    assert "all of it" in told
    assert "| a" not in told
    assert told.endswith("Left out here: Large, Late. All of it: `card.html`.")


def test_of_many_gates_a_description_names_those_that_did_not_pass() -> None:
    gates = [{"gate": f"slice:a={n}", "result": "shown", "value": n / 7, "sentence": "x" * 100} for n in range(80)]
    gates[70] = {"gate": "better", "result": "failed", "value": -1.0, "sentence": "better: no"}
    told = description("REFUSED: no better", gates, "")
    first, *others = [line for line in told.splitlines() if line.startswith("| ")][1:]
    assert first.startswith("| better &emsp;| failed &emsp;| -1")
    assert told.endswith(f"{79 - len(others)} more in the card.")
    longest = description("x" * 9000, [{**gates[0], "gate": "y " * 9000}], "[x](y)\n\n## A\n\nb")
    assert len(longest) <= LONGEST
    assert longest.endswith("1 more in the card.\n\n[x](y)\n\n## A\n\nb")
    assert description("CANDIDATE", [], "") == "CANDIDATE"


def test_residuals_tell_how_far_off_and_no_single_row() -> None:
    answers = np.linspace(0, 100, 200)
    truth = answers + np.tile([-1.0, 1.0], 100) * (1 + answers)  # the larger, the further off
    truth[7] = np.nan
    bins = residuals(truth, answers)
    assert sum(one["rows"] for one in bins) == 199
    assert min(one["rows"] for one in bins) >= 9
    widths = [one["high"] - one["low"] for one in bins]
    assert widths == sorted(widths)
    assert residuals(truth[:19], answers[:19]) == []


def test_equal_confusions_give_equal_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        confusion_png(FOUND["confusion"], ["8", "$\\frac$"], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
