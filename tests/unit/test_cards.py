from pathlib import Path
from typing import Any

from models.cards import LONGEST, card, confusion_png, description

EVIL = "</script><script>alert(1)</script> [x](javascript:1) | `a`"
FOUND: dict[str, Any] = {
    "metric": "accuracy",
    "judge": {"accuracy": {"value": 0.971, "low": 0.955, "high": 0.982}, "roc_auc": {"value": 0.99}},
    "anchor": {"accuracy": {"value": 0.968, "low": 0.95, "high": 0.98}},
    "baseline": 0.104,
    "rows": {"judge": 412, "train": 1200, "anchor": 300},
    "confusion": [[200, 7], [5, 200], [0, 0]],
    "levels": ["8", EVIL],
}
FACTS = {"snapshot": "0f" * 16 + ".dir", "code": "ab" * 32, "lock": "cd" * 32, "seed": "0"}
HISTORY = {"epochs": [{"number": 1, "epochs": 1, "validation_loss": 0.12, "seconds": 3.0}], "difference": 1e-7}


def test_a_card_says_how_good_from_what_and_how_again() -> None:
    text = card("digits", FOUND, FACTS, HISTORY)
    assert "0.971 [0.955, 0.982]".replace("[", r"\[").replace("]", r"\]") in text
    assert "anchor rows \\(300\\)" in text
    for made_from in (*FACTS.values(), "dvc repro evaluate@digits", "1.0e-07"):
        assert made_from in text
    assert text.index("| accuracy |") < text.index("roc\\_auc")  # what decides stands first


def test_nothing_from_data_becomes_markup() -> None:
    text = card("digits", FOUND, {**FACTS, "note": EVIL, "snapshot": EVIL}, HISTORY)
    page = description(EVIL, [{"gate": EVIL, "result": "failed", "sentence": EVIL}], text)
    for said in (text, page):
        assert "<script" not in said
        assert "](" not in said
    table = [line for line in text.splitlines() if line.startswith("| 8 |")]
    assert table[0].replace("\\|", "").count("|") == 4  # three cells still


def test_a_description_lists_the_gates_by_name_and_keeps_columns_apart() -> None:
    gates = [
        {"gate": "floor:f1", "result": "passed", "sentence": "f1 0.9"},
        {"gate": "better", "result": "failed", "sentence": "better: +3 [-1, 4]"},
    ]
    text = description("KEPT: a_b", gates, "| a | b |")
    assert text.splitlines()[2:] == [
        "- **passed** floor:f1: f1 0.9",
        r"- **failed** better: +3 \[-1, 4\]",
        "",
        "| a &emsp;| b |",
    ]


def test_a_description_starts_with_the_verdict_and_fits_what_mlflow_keeps() -> None:
    page = description("REFUSED: no better", [], "x\n" * 5000)
    assert page.splitlines()[0] == "REFUSED: no better"
    assert len(page) <= LONGEST
    assert page.endswith("`card.md`, `gates.json`.")


def test_equal_confusions_give_equal_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        confusion_png(FOUND["confusion"], ["8", "$\\frac$"], tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
