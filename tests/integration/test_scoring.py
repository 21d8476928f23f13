from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from loop_parts import WINDOW, Orchard, plums
from store_parts import race

from data import quarantine
from data.errors import BadSetting, NoChampion, SchemaMismatch, SourceUnavailable
from data.requests import read_requests
from monitoring.store.predictions import PredictionLog
from tasks import scoring
from tasks.reports import Report
from tasks.watching import watch


def to_score(folder: Path, rows: int = 2 * WINDOW, *, seed: int = 1) -> Path:
    made = plums(rows, seed=seed)
    keys = [f"tree-{n:03d}" for n in range(rows)]
    path = folder / "orchard.csv"
    pd.DataFrame({"plum": keys, "size": made["size"], "sugar": made["sugar"]}).to_csv(path, index=False)
    return path


def scored(orchard: Orchard, file: Path | None, out: Path | None = None) -> Report:
    return scoring.score(orchard, orchard.name, file=file, out=out, progress=lambda share, text: None)


def answers(orchard: Orchard, batch: str = "orchard") -> pd.DataFrame:
    return pq.read_table(scoring.target(orchard, orchard.name, batch)).to_pandas()


def test_every_row_is_answered_logged_and_in_the_file_as_the_predictor_says(orchard: Orchard, tmp_path: Path) -> None:
    serving = orchard.serve()
    file = to_score(tmp_path)
    report = scored(orchard, file)
    assert report.sentence == "80 rows answered, 0 had been before, 0 in quarantine"
    found, rows = answers(orchard), read_requests(pd.read_csv(file), orchard.declared.schema, "orchard").rows
    expected = orchard.kept(1).predict(rows)
    assert found["id"].tolist() == rows["plum"].tolist()
    assert found["class"].tolist() == expected.predictions.tolist()
    assert np.array_equal(found[["probability_no", "probability_yes"]].to_numpy(), expected.values)
    assert set(found["generation"]) == {1}
    assert set(found["version"]) == {serving.version}
    logged = orchard.store.predictions.find(orchard.name, rows["plum"])
    assert [logged[id_].output["class"] for id_ in rows["plum"]] == found["class"].tolist()
    watch(orchard, orchard.name)
    assert [verdict.rows for verdict in orchard.verdicts()] == [WINDOW, WINDOW]  # monitoring covers it


def test_the_same_batch_again_answers_nothing_twice_and_gives_the_same_answers(
    orchard: Orchard, tmp_path: Path
) -> None:
    orchard.serve()
    file = to_score(tmp_path)
    scored(orchard, file)
    before = answers(orchard)
    orchard.serve("2")  # promoted meanwhile: what was answered stays answered
    assert scored(orchard, file).sentence == "0 rows answered, 80 had been before, 0 in quarantine"
    assert answers(orchard).equals(before)
    assert orchard.store.predictions.count(orchard.name) == 80


def test_a_killed_run_goes_on_where_it_stopped(
    orchard: Orchard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchard.serve()
    file, append, calls = to_score(tmp_path), PredictionLog.append, []

    def killed(self: PredictionLog, answered: list) -> list:
        calls.append(len(answered))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return append(self, answered)

    monkeypatch.setattr(scoring, "CHUNK", 20)
    monkeypatch.setattr(PredictionLog, "append", killed)
    with pytest.raises(KeyboardInterrupt):
        scored(orchard, file)
    assert not scoring.target(orchard, orchard.name, "orchard").exists()
    assert not list(scoring.target(orchard, orchard.name, "orchard").parent.iterdir())
    assert scored(orchard, file).sentence == "40 rows answered, 40 had been before, 0 in quarantine"
    assert calls == [20, 20, 20, 0, 0, 20, 20]
    assert len(answers(orchard)) == orchard.store.predictions.count(orchard.name) == 80


def test_two_runs_at_once_answer_each_row_once(orchard: Orchard, tmp_path: Path) -> None:
    orchard.serve()
    file = to_score(tmp_path)
    homes = [orchard.another(), orchard.another()]
    reports = race(2, lambda number: scored(homes[number], file))
    assert all(isinstance(report, Report) for report in reports)
    assert len(answers(orchard)) == orchard.store.predictions.count(orchard.name) == 80


def test_rows_that_the_service_would_refuse_are_kept_with_their_reasons(orchard: Orchard, tmp_path: Path) -> None:
    orchard.serve()
    file = tmp_path / "bad.csv"
    file.write_text("plum,size,sugar\na,1,1\nb,99,1\nc,,1\nd,two,1\na,2,2\n")
    assert scored(orchard, file).sentence == "1 rows answered, 0 had been before, 4 in quarantine"
    kept = quarantine.show(orchard.batches, orchard.name, "score.bad")
    assert dict(zip(kept["_position"], [reasons[0] for reasons in kept["_reasons"]], strict=True)) == {
        1: "size: outside [-9, 9]",
        2: "size: missing",
        3: "size: 'two' is not a number",
        4: "plum: an earlier row has this key too",
    }


def test_a_key_that_was_answered_for_other_features_is_no_answer(orchard: Orchard, tmp_path: Path) -> None:
    orchard.serve()
    scored(orchard, to_score(tmp_path))
    file = to_score(tmp_path, seed=2)
    assert scored(orchard, file).sentence == "0 rows answered, 0 had been before, 80 in quarantine"
    kept = quarantine.show(orchard.batches, orchard.name, "score.orchard")
    assert "answered before, for other features" in kept["_reasons"].iloc[0][0]


def test_rows_without_keys_are_known_by_their_content_in_any_order(orchard: Orchard, tmp_path: Path) -> None:
    orchard.serve()
    frame = pd.read_csv(to_score(tmp_path)).drop(columns="plum")
    frame = pd.concat([frame, frame.head(2)])  # two rows twice: as many answers
    file = tmp_path / "keyless.csv"
    frame.to_csv(file, index=False)
    assert scored(orchard, file).sentence.startswith("82 rows answered")
    frame.sample(frac=1, random_state=0).to_csv(file, index=False)
    assert scored(orchard, file).sentence.startswith("0 rows answered, 82 had been before")


def test_the_rest_of_a_batch_is_answered_by_what_was_promoted_meanwhile(
    orchard: Orchard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchard.serve()
    monkeypatch.setattr(scoring, "CHUNK", 50)
    scoring.score(
        orchard,
        orchard.name,
        file=to_score(tmp_path),
        progress=lambda share, text: orchard.serve("2") if share < 1 else None,
    )
    assert answers(orchard)["version"].value_counts().to_dict() == {"1": 50, "2": 30}


def test_what_cannot_be_scored_says_why(orchard: Orchard, tmp_path: Path) -> None:
    file = to_score(tmp_path)
    with pytest.raises(NoChampion):
        scored(orchard, file)
    orchard.serve()
    with pytest.raises(BadSetting, match="declares no source of rows to score"):
        scored(orchard, None)
    with pytest.raises(SourceUnavailable, match="absent"):
        scored(orchard, tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("plum,size\na,1\n")
    with pytest.raises(SchemaMismatch, match="sugar"):
        scored(orchard, tmp_path / "other.csv")


def test_a_declared_source_is_scored_without_a_file(orchard: Orchard, tmp_path: Path) -> None:
    orchard.serve()
    to_score(tmp_path)
    orchard.declare(
        ("source=rows,", f"source=rows, scoring=Files('{tmp_path}', pattern='*.csv'),"),
        ("Category, ", "Category, Files, "),
    )
    assert scored(orchard, None).table[0]["batch"] == "orchard"
    assert len(answers(orchard)) == 80


def test_a_generation_that_is_not_on_the_machine_yet_holds_nothing_up(
    orchard: Orchard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orchard.serve()
    monkeypatch.setattr(scoring, "CHUNK", 50)

    def promote_elsewhere(share: float, text: str) -> None:
        if share < 1:
            orchard.serve("2")
            (orchard.settings.home / "generations" / orchard.name / "2").rename(tmp_path / "elsewhere")

    scoring.score(orchard, orchard.name, file=to_score(tmp_path), progress=promote_elsewhere)
    assert set(answers(orchard)["version"]) == {"1"}


def test_where_no_row_is_fit_no_older_file_passes_for_the_answers(orchard: Orchard, tmp_path: Path) -> None:
    orchard.serve()
    file = to_score(tmp_path)
    scored(orchard, file)
    pd.read_csv(file).assign(size=99).to_csv(file, index=False)
    report = scored(orchard, file)
    assert not scoring.target(orchard, orchard.name, "orchard").exists()
    assert report.links == {}
    assert orchard.store.ledger.decisions(orchard.name, kinds=("score",))[0].inputs["sha256"] is None
