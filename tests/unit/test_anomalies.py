import numpy as np
import pandas as pd
import pytest
import torch

from data.batches import coerce
from data.errors import BadDeclaration, TooFewRows
from data.schema import Anomaly, Category, Number, Rows, Schema, Series, schema_from_json
from data.validation import validate
from models.baselines import flat
from models.declarations import Evaluation, Model, Threshold
from models.encoding import Encoder
from models.metrics import ERROR, score
from models.networks import build
from models.outputs import Outputs
from models.reconstruction import Residual
from models.thresholds import choose
from models.training import split
from monitoring.reference import losses_of
from projects.declaration import Project, Training
from serving.values import Unfit, checker

LEVELS = ("false", "true")


def schema(series: Series, **said: object) -> Schema:
    return Schema(columns={"past": series, "odd": Anomaly(**said)}, target="odd", key="id")  # type: ignore[arg-type]


def rows(past: np.ndarray, odd: list[str | None] | None = None) -> Rows:
    ids = np.array([f"row-{at}" for at in range(len(past))], dtype=object)
    return {"id": ids, "past": past, "odd": np.array(odd or [None] * len(past), dtype=object)}


def scored(errors: np.ndarray) -> np.ndarray:
    return np.column_stack([1 / (1 + errors), errors / (1 + errors)])


def values(outputs: Outputs) -> np.ndarray:
    return outputs.values  # noqa: PD011


class Nothing(torch.nn.Module):
    """Reconstructs every series as its mean."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(series), self.outputs)


def answered(asked: Schema, given: Rows) -> np.ndarray:
    """Scores of a network that reconstructs nothing: the error is how far a window is from the mean."""
    encoder = Encoder.fit(asked, None, given)
    network = Residual(Nothing(encoder.spec.outputs), encoder.spec)
    left = network(torch.from_numpy(encoder.encode(given)["series"])).numpy()
    shares = values(encoder.decode(left))
    return np.asarray(shares[:, 1] / shares[:, 0])


def test_a_score_is_one_half_where_the_error_is_a_unit_of_the_series_whatever_its_scale() -> None:
    past = np.random.default_rng(0).normal(100, 7, (50, 6, 1))
    found = answered(schema(Series(length=6, channels=("a",)), unit=2.0), rows(past))
    assert found == pytest.approx(np.sqrt((((past - past.mean()) / 2) ** 2).mean(axis=(1, 2))), rel=1e-5)
    encoder = Encoder.fit(schema(Series(length=6, channels=("a",)), unit=2.0), None, rows(past))
    one_unit = np.full((1, 6), 2.0 / encoder.scales["past.a"][1])
    assert encoder.decode(one_unit * 1.01).answers() == [{"score": pytest.approx(0.5, abs=0.01), "anomaly": True}]


def test_each_channel_has_its_unit_and_only_the_newest_steps_count_where_that_is_said() -> None:
    past = np.random.default_rng(1).normal(0, 1, (40, 5, 2)) * [1.0, 1000.0]
    column = Series(length=5, channels=("a", "b"))
    found = answered(schema(column, unit=(1.0, 1000.0), newest=2), rows(past))
    wanted = np.sqrt((((past - past.mean(axis=(0, 1))) / [1.0, 1000.0])[:, -2:] ** 2).mean(axis=(1, 2)))
    assert found == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(BadDeclaration, match="3 units for 2 channels"):
        Encoder.fit(schema(column, unit=(1.0, 1.0, 1.0)), None, rows(past))


@pytest.mark.parametrize("newest", [None, 4])
def test_what_is_known_of_a_window_stands_for_its_gaps(newest: int | None) -> None:
    past = np.random.default_rng(2).normal(0, 1, (40, 6, 1))
    past[0, [0, 3, 4]] = np.nan
    found = answered(schema(Series(length=6, channels=("a",), nullable=True), newest=newest), rows(past))
    counting = past[0, -(newest or 6) :]
    assert found[0] == pytest.approx(np.sqrt(np.nanmean((counting - np.nanmean(past)) ** 2)), rel=1e-5)
    apart = np.sqrt(np.nanmean((counting - np.nanmean(past[0])) ** 2))
    assert flat(past, np.ones(1), newest)[0, 1] == pytest.approx(apart / (1 + apart))


def test_a_series_that_never_moves_is_usual_and_its_first_movement_is_not() -> None:
    still = rows(np.full((30, 4, 1), 5.0))
    encoder = Encoder.fit(schema(Series(length=4, channels=("a",))), None, still)
    network = build(Model(network="mlp", options={"hidden": (2,), "dropout": 0.0}), encoder.spec).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        moved = rows(np.array([[[5.0]] * 4, [[5.0]] * 3 + [[500.0]]]))
        outputs = encoder.decode(network(torch.from_numpy(encoder.encode(moved)["series"])).numpy())
    assert values(outputs)[0, 1] == 0.0
    assert values(outputs)[1, 1] > 0.99
    assert flat(still["past"], np.ones(1))[:, 1].tolist() == [0.0] * 30


def test_what_is_known_to_be_an_anomaly_is_not_learned_from() -> None:
    past = np.random.default_rng(3).normal(0, 1, (60, 4, 1))
    given = rows(past, ["true" if at % 3 == 0 else None if at % 3 == 1 else "false" for at in range(60)])
    encoder = Encoder.fit(schema(Series(length=4, channels=("a",))), None, given)
    learning, judging = split(encoder, given, Training(validation=0.3))
    assert {*learning["odd"], *judging["odd"]} == {None, "false"}
    assert len(learning["odd"]) + len(judging["odd"]) == 40
    with pytest.raises(TooFewRows, match="without an anomaly"):
        split(encoder, rows(past, ["true"] * 60), Training())


def test_a_batch_of_which_nobody_knows_anything_is_good_and_words_of_all_kinds_are_read() -> None:
    asked = schema(Series(length=2, channels=("a",)))
    frame = pd.DataFrame({"id": list("abcdef"), "past": [[[1.0], [2.0]]] * 6})
    for said, wanted in (
        ([None] * 6, [None] * 6),
        ([True, False, None, "true", "false", 1], ["true", "false", None, "true", "false", "true"]),
    ):
        typed, misfits = coerce(frame.assign(odd=pd.Series(said, dtype=object)), asked)
        assert (typed["odd"].tolist(), misfits) == (wanted, [])
        assert validate(typed, asked, ()).good.all()
    typed, _ = coerce(frame.assign(odd="perhaps"), asked)
    assert not validate(typed, asked, ()).good.any()


def test_a_label_in_a_request_is_true_or_false_and_nothing_else() -> None:
    read = checker(Anomaly())
    assert (read(True), read(False)) == ("true", "false")
    for wrong in ("true", 1, [True]):
        with pytest.raises(Unfit, match="true or false"):
            read(wrong)
    assert Anomaly().to_request(np.array(["true", "false", None], dtype=object)) == [True, False, None]


def test_a_threshold_by_false_alarms_holds_them_on_new_rows_and_needs_enough_rows() -> None:
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        cutoff = choose(
            Threshold(level="true", false_alarms=0.05),
            Outputs(scored(rng.lognormal(size=150)), LEVELS, anomaly=True),
            np.full(150, None, dtype=object),
        )
        found.append((scored(rng.lognormal(size=2000))[:, 1] >= cutoff.at).mean())
    assert 0.03 < np.mean(found) <= 0.05
    few = Outputs(scored(np.ones(18)), LEVELS, anomaly=True)
    with pytest.raises(TooFewRows, match="19 needed"):
        choose(Threshold(level="true", false_alarms=0.05), few, np.full(18, None, dtype=object))
    alike = choose(Threshold(level="true", false_alarms=0.5), few, np.full(18, None, dtype=object))
    assert alike.at > 0.5  # rows of one and the same error don't alarm


def test_metrics_of_labels_are_of_the_labelled_rows_and_the_error_of_all() -> None:
    errors = np.array([0.5, 1.0, 3.0, 7.0])
    outputs = Outputs(scored(errors), LEVELS, anomaly=True)
    unlabelled = np.full(4, None, dtype=object)
    assert score("anomaly", unlabelled, values(outputs), LEVELS) == {ERROR: pytest.approx(errors.mean())}
    some = np.array(["false", None, None, "true"], dtype=object)
    found = score("anomaly", some, values(outputs), LEVELS)
    assert (found[ERROR], found["average_precision"], found["recall"]) == (pytest.approx(errors.mean()), 1.0, 1.0)


def test_what_nobody_called_an_anomaly_counts_as_none_where_answers_are_held_against_it() -> None:
    truth, answers = (
        np.array([None, None, "true", "false"], object),
        np.array(["false", "true", "true", "true"], object),
    )
    assert losses_of(truth, answers, "anomaly").tolist() == [0.0, 1.0, 0.0, 1.0]


def test_declarations_that_mean_nothing_are_refused() -> None:
    for said in ({"unit": 0.0}, {"unit": float("nan")}, {"newest": 0}, {"levels": ("no", "yes")}, {"nullable": False}):
        with pytest.raises(BadDeclaration, match="Anomaly"):
            Anomaly(**said)  # type: ignore[arg-type]
    window = Series(length=2, channels=("a",))
    with pytest.raises(BadDeclaration, match="only a target"):
        Schema(columns={"odd": Anomaly(), "kind": Category(levels=("a", "b"))}, target="kind", key="id")
    with pytest.raises(BadDeclaration, match="needs Anomaly"):
        Project(
            name="odd",
            task="anomaly",
            schema=Schema(columns={"past": window, "kind": Category(levels=("a", "b"))}, target="kind", key="id"),
            source=list,
            model=Model(network="mlp"),
            evaluation=Evaluation(metric=ERROR),
        )
    table = Schema(columns={"x": Number(), "odd": Anomaly()}, target="odd", key="id")
    with pytest.raises(BadDeclaration, match="looked for in a Series"):
        Encoder.fit(table, None, {"id": np.array(["a"], object), "x": np.ones(1), "odd": np.array([None])})
    kept = schema(window, unit=(2.0,), newest=1)
    assert schema_from_json(kept.to_json()) == kept


def test_more_newest_steps_than_a_window_has_are_refused_and_as_many_are_all() -> None:
    window, given = Series(length=3, channels=("a", "b")), rows(np.ones((1, 3, 2)))
    assert Encoder.fit(schema(window, newest=3), None, given).spec.newest == 6
    with pytest.raises(BadDeclaration, match="a window has 3 steps"):
        Encoder.fit(schema(window, newest=4), None, given)


@pytest.mark.parametrize(
    "asked", [Threshold(level="true", recall=0.9), Threshold(level="false", false_alarms=0.1)], ids=["recall", "false"]
)
def test_a_threshold_that_would_need_labelled_anomalies_is_refused_before_any_training(asked: Threshold) -> None:
    with pytest.raises(BadDeclaration, match="learned without labels"):
        Project(
            name="odd",
            task="anomaly",
            schema=schema(Series(length=2, channels=("a",))),
            source=list,
            model=Model(network="mlp"),
            evaluation=Evaluation(metric=ERROR, threshold=asked),
        )
