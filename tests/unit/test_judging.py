import re
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from data.errors import BadDeclaration, TooFewRows
from models.comparison import sample
from models.declarations import Gates
from models.judging import Comparison, GateResult, Judgement, Sample, anchor_rows_needed, judge
from models.outputs import Outputs

GATES = Gates(floors={"accuracy": 0.8}, margin=0.02)


def answers(truth: np.ndarray, accuracy: float, rng: np.random.Generator) -> np.ndarray:
    wrong = rng.random(len(truth)) >= accuracy
    return np.eye(2)[(truth.astype(int) + wrong) % 2]


def drawn(
    candidate: float, champion: float | None, rng: np.random.Generator, rows: int, baseline: float = 0.5
) -> Sample:
    truth = rng.integers(0, 2, rows)
    return sample(
        "accuracy",
        truth.astype(str).astype(object),
        np.arange(rows),
        candidate=answers(truth, candidate, rng),
        champion=None if champion is None else answers(truth, champion, rng),
        baseline=answers(truth, baseline, rng),
        levels=("0", "1"),
    )


def contest(
    fresh: tuple[float, float], anchor: tuple[float, float] = (0.97, 0.97), seed: int = 0, rows: int = 600
) -> Comparison:
    rng = np.random.default_rng(seed)
    return Comparison(
        metric="accuracy",
        fresh=drawn(*fresh, rng, rows),
        anchor=drawn(*anchor, rng, 1500),
        metrics={"accuracy": fresh[0]},
        champion="6",
    )


def counted(wins: int, losses: int, rows: int) -> Sample:
    truth = np.full(rows, "1", dtype=object)
    right, wrong = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    candidate, champion = np.tile(right, (rows, 1)), np.tile(right, (rows, 1))
    champion[:wins], candidate[wins : wins + losses] = wrong, wrong
    baseline = np.tile(wrong, (rows, 1))
    return sample(
        "accuracy", truth, np.arange(rows), candidate=candidate, champion=champion, baseline=baseline, levels=("0", "1")
    )


def compared(fresh: Sample, anchor: Sample | None = None, accuracy: float = 0.9) -> Comparison:
    anchor = counted(0, 0, 300) if anchor is None and fresh.champion is not None else anchor
    return Comparison(metric="accuracy", fresh=fresh, anchor=anchor, metrics={"accuracy": accuracy}, champion="6")


@pytest.mark.parametrize(
    ("fresh", "anchor", "verdict"),
    [
        (counted(40, 4, 412), counted(2, 2, 300), "passed"),
        (counted(0, 0, 412), counted(0, 0, 300), "kept"),  # the same model again
        (counted(20, 20, 412), counted(0, 0, 300), "kept"),  # a tie
        (counted(4, 0, 412), counted(0, 0, 300), "kept"),  # chance does as well 1 time in 16
        (counted(4, 40, 412), counted(0, 0, 300), "refused"),  # shown to be worse
        (counted(20, 20, 412), counted(0, 30, 300), "refused"),  # forgets, for nothing
        (counted(40, 4, 412), counted(0, 30, 300), "question"),  # better on what is new, worse on what was known
        (counted(15, 0, 19), counted(0, 0, 300), "kept"),  # too few blocks to tell
    ],
)
def test_verdict_follows_from_fresh_rows_and_anchor(fresh: Sample, anchor: Sample, verdict: str) -> None:
    judgement = judge(GATES, compared(fresh, anchor))
    assert judgement.verdict == verdict
    assert judgement.sentence.startswith(verdict.upper())


def test_a_sentence_says_by_how_much_how_sure_and_on_what() -> None:
    judgement = judge(GATES, compared(counted(40, 4, 412)))
    better = next(line for line in judgement.table() if line["gate"] == "better")
    said = r"better: \+8\.7 points \[\+(5\.9|6\.\d), \+11\.\d\] on 412 fresh rows in 412 entities against v6"
    assert re.fullmatch(said, better["sentence"])
    refused = judge(GATES, compared(counted(4, 40, 412)))
    assert "\N{MINUS SIGN}8.7 points" in refused.sentence
    assert "waive better" in refused.sentence


def test_a_first_version_needs_floors_and_baseline_only() -> None:
    first = compared(replace(counted(0, 20, 400), champion=None))
    judgement = judge(GATES, first)
    assert judgement.verdict == "passed"
    assert [line["gate"] for line in judgement.table()] == ["floor:accuracy", "baseline"]
    assert judge(GATES, replace(first, metrics={"accuracy": 0.79})).verdict == "refused"
    no_better = replace(first, fresh=replace(first.fresh, baseline=first.fresh.candidate))
    assert judge(GATES, no_better).verdict == "refused"
    assert judge(GATES, replace(first, fresh=replace(first.fresh, baseline=None))).verdict == "refused"
    few = replace(counted(0, 0, 19), champion=None)
    assert judge(GATES, compared(few)).verdict == "refused"  # nothing serves that could be kept
    assert "next: bring more rows and train again" in judge(GATES, compared(few)).sentence
    in_days = judge(GATES, compared(replace(few, unit="days"))).sentence
    assert "`Evaluation(exchangeable=True)`" in in_days


def beside_a_rule(candidate: int, champion: int | None, rule: int) -> Comparison:
    """Of 400 fresh rows, so many are answered wrongly by the candidate, by what serves and by the trivial rule."""
    truth = np.full(400, "1", dtype=object)

    def answered(wrong: int) -> np.ndarray:
        return np.eye(2)[(np.arange(400) >= wrong).astype(int)]

    fresh = sample(
        "accuracy",
        truth,
        np.arange(400),
        candidate=answered(candidate),
        champion=None if champion is None else answered(champion),
        baseline=answered(rule),
        levels=("0", "1"),
        others={"tree": Outputs(answered(rule), ("0", "1"))},
    )
    return replace(compared(fresh), metrics={"accuracy": 1 - candidate / 400})


@pytest.mark.parametrize(
    ("candidate", "champion", "rule", "verdict"),
    [
        (30, 60, 50, "passed"),  # better than both
        (50, 60, 40, "question"),  # better than what serves, and both lose to the rule: refusing it keeps a worse one
        (50, 60, 50, "question"),  # better than what serves, and as good as the rule
        (60, 60, 40, "refused"),  # as bad as what serves
        (70, 60, 40, "refused"),  # worse than what serves, too
        (57, 60, 40, "refused"),  # not shown to be better than what serves
        (50, None, 40, "refused"),  # nothing serves: then a rule is better than a model
        (50, None, 50, "refused"),
        (30, None, 50, "passed"),
        (90, 130, 40, "refused"),  # better than what serves and below the floor, which is nobody's rule
    ],
)
def test_a_version_that_loses_to_a_rule_is_asked_about_only_where_it_is_better_than_what_serves(
    candidate: int, champion: int | None, rule: int, verdict: str
) -> None:
    against_all = beside_a_rule(candidate, champion, rule)
    assert judge(GATES, against_all).verdict == verdict
    assert judge(replace(GATES, baseline=False, beat=("tree",)), against_all).verdict == verdict


def test_who_is_asked_about_a_version_that_loses_to_a_rule_reads_that_what_serves_loses_by_more() -> None:
    judgement = judge(GATES, beside_a_rule(50, 60, 40))
    assert "against the trivial baseline (v6: \N{MINUS SIGN}5.0 [" in judgement.sentence
    assert (
        "better than v6, but neither is shown to beat the trivial baseline: should either answer?" in judgement.sentence
    )
    assert "next: waive baseline to promote, or leave v6 in place" in judgement.sentence
    forgets = replace(beside_a_rule(50, 60, 40), anchor=counted(0, 30, 300))
    judgement = judge(GATES, forgets)
    assert judgement.verdict == "question"
    assert "the trivial baseline, nor is it shown to hold what was known" in judgement.sentence
    assert judge(GATES, beside_a_rule(50, 60, 40), waived=("baseline",)).verdict == "passed"


def test_another_gate_that_stands_in_the_way_refuses_a_version_that_also_loses_to_a_rule() -> None:
    loses = beside_a_rule(50, 60, 40)
    assert judge(replace(GATES, size_mb=1.0), replace(loses, size_mb=2.0)).verdict == "refused"
    assert judge(GATES, replace(loses, incompatible=("'size' is no longer known",))).verdict == "refused"
    asked = replace(loses.fresh, champion=None)
    assert judge(GATES, replace(loses, fresh=asked, anchor=None, unasked="they have no 'size'")).verdict == "refused"


def test_a_floor_bounds_an_error_from_above() -> None:
    comparison = replace(compared(counted(40, 4, 412)), metrics={"log_loss": 0.5})
    assert judge(Gates(floors={"log_loss": 0.6}), comparison).verdict == "passed"
    assert judge(Gates(floors={"log_loss": 0.4}), comparison).verdict == "refused"
    with pytest.raises(BadDeclaration, match="did you mean 'log_loss'"):
        judge(Gates(floors={"log_los": 0.4}), comparison)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("rows", [412, 10])
def test_nan_never_passes(broken: float, rows: int) -> None:
    good = compared(counted(9, 0, rows))
    candidate = good.fresh.candidate.copy()
    candidate[5, 0] = broken
    judgement = judge(GATES, replace(good, fresh=replace(good.fresh, candidate=candidate)))
    assert judgement.verdict == "refused"
    assert {line["gate"]: line["result"] for line in judgement.table()}["better"] == "failed"
    assert judge(GATES, replace(good, metrics={"accuracy": float("nan")})).verdict == "refused"
    assert judge(Gates(latency_ms=5.0), replace(good, latency_ms=float("nan"))).verdict == "refused"
    anchor = compared(counted(40, 4, 412), replace(counted(0, 0, 300), candidate=np.full((300, 2), broken)))
    assert judge(GATES, anchor).verdict != "passed"

    def lying(comparison: Comparison) -> GateResult:
        return GateResult("own", passed=True, sentence="fine", value=broken)

    assert judge(Gates(extra=(lying,)), compared(counted(40, 4, 412))).verdict == "refused"


def test_a_project_may_add_a_gate_and_its_failure_is_named() -> None:
    def small(comparison: Comparison) -> GateResult:
        return GateResult("small", passed=False, sentence="31 MB, at most 30 asked", value=31.0, threshold=30.0)

    def broken(comparison: Comparison) -> GateResult:
        raise KeyError("weight")

    comparison = compared(counted(40, 4, 412))
    judgement = judge(Gates(extra=(small,)), comparison)
    assert judgement.verdict == "refused"
    assert "31 MB" in judgement.sentence
    with pytest.raises(BadDeclaration, match="gate 'broken' failed: KeyError"):
        judge(Gates(extra=(broken,)), comparison)


def test_a_waiver_lets_one_named_gate_go_and_is_on_record() -> None:
    worse = compared(counted(4, 40, 412))
    judgement = judge(GATES, worse, waived=("better",))
    assert judgement.verdict == "passed"
    assert judgement.waived == ("better",)
    assert "waived by a person: better" in judgement.sentence
    assert {line["gate"]: line["result"] for line in judgement.table()}["better"] == "waived"
    assert judge(GATES, replace(worse, metrics={"accuracy": 0.1}), waived=("better",)).verdict == "refused"
    assert judge(GATES, compared(counted(40, 4, 412)), waived=("better",)).waived == ()  # it needed none
    with pytest.raises(BadDeclaration, match="did you mean 'better'"):
        judge(GATES, worse, waived=("beter",))


def test_an_anchor_too_small_for_its_margin_is_an_error_that_says_the_size() -> None:
    gates = Gates(margin=0.02, anchor_rows=50)
    assert anchor_rows_needed(gates, "accuracy") == 149  # 0.98 ** 149 < 0.05
    with pytest.raises(TooFewRows, match="148 rows given, at least 149 needed"):
        judge(gates, compared(counted(40, 4, 412), counted(0, 0, 148)))
    assert judge(gates, compared(counted(40, 4, 412), counted(1, 0, 149))).verdict == "passed"
    with pytest.raises(TooFewRows, match=r"bring more rows, or change.*at least 200"):
        judge(Gates(), replace(compared(counted(40, 4, 412)), anchor=None))
    assert judge(gates, compared(counted(40, 4, 412), counted(0, 0, 148)), waived=("not_worse",)).verdict == "passed"


def test_an_anchor_too_noisy_to_tell_asks_a_person_and_says_how_many_would_do() -> None:
    judgement = judge(GATES, compared(counted(40, 4, 412), counted(30, 30, 300)))
    assert judgement.verdict == "question"
    assert "entities could show" in judgement.sentence
    assert judge(GATES, compared(counted(5, 5, 412), counted(30, 30, 300))).verdict == "kept"


def with_champions(candidate: int, **champions: int) -> Comparison:
    """Of 400 anchor rows, so many are answered wrongly by the candidate and by each champion so far."""
    truth = np.full(400, "1", dtype=object)

    def answered(wrong: int) -> np.ndarray:
        return np.eye(2)[(np.arange(400) >= wrong).astype(int)]

    common = sample(
        "accuracy",
        truth,
        np.arange(400),
        candidate=answered(candidate),
        levels=("0", "1"),
        others={name.removeprefix("v"): Outputs(answered(wrong), ("0", "1")) for name, wrong in champions.items()},
    )
    return replace(compared(counted(40, 4, 412)), common=common)


def line_of(judgement: Judgement, gate: str) -> dict[str, Any]:
    return next(line for line in judgement.table() if line["gate"] == gate)


def test_small_losses_do_not_add_up() -> None:
    gates = replace(GATES, max_loss=0.05)
    near = judge(gates, with_champions(12, v1=8, v2=10, v6=11))
    assert near.verdict == "passed"
    assert line_of(near, "best_so_far")["result"] == "passed"
    far = with_champions(40, v1=8, v2=24, v6=37)  # v6 lost to v2 and v2 to v1, never more than it may
    assert judge(replace(gates, max_loss=0.2), far).verdict == "passed"
    judgement = judge(gates, far)
    assert judgement.verdict == "question"
    line = line_of(judgement, "best_so_far")
    assert (line["result"], line["value"], line["threshold"], line["rows"]) == (
        "failed",
        pytest.approx(-0.08),
        -0.05,
        400,
    )
    assert "against v1, of 3 champions so far the hardest to match, 5 points tolerated" in line["sentence"]
    assert judge(gates, far, waived=("best_so_far",)).verdict == "passed"
    assert judge(gates, replace(far, fresh=counted(9, 9, 412))).verdict == "refused"


def test_a_champion_that_is_gone_is_named_and_hinders_nothing() -> None:
    gone = replace(with_champions(8, v1=8, v6=8), gone={"2": "it has no files in the registry"})
    judgement = judge(replace(GATES, max_loss=0.05), gone)
    assert judgement.verdict == "passed"
    assert "v2 can't be asked (it has no files in the registry)" in line_of(judgement, "best_so_far")["sentence"]


def test_what_may_be_lost_in_all_follows_from_the_margin_unless_it_is_said() -> None:
    assert (Gates().most_lost, Gates().lost_in_slice) == (0.05, 0.05)
    assert Gates(margin=0.5).most_lost == 1.25
    assert Gates(margin=0.5, max_loss=0.1, slice_margin=0.2).most_lost == 0.1
    with pytest.raises(BadDeclaration, match="did you mean 'tree'"):
        Gates(beat=("trees",))  # type: ignore[arg-type]


def test_a_champion_that_can_not_be_asked_is_kept_unless_a_person_lets_it_go() -> None:
    unasked = replace(
        compared(replace(counted(40, 4, 412), champion=None)),
        anchor=None,
        unasked="they have no 'size'",
        incompatible=("'size' is no longer known",),
    )
    judgement = judge(GATES, unasked)
    assert judgement.verdict == "refused"
    assert "requests that v6 accepts would be refused: 'size' is no longer known" in judgement.sentence
    waived = judge(GATES, unasked, waived=("schema_incompatible",))
    assert waived.verdict == "kept"
    assert "v6 can't be asked about these rows: they have no 'size'" in waived.sentence
    assert judge(GATES, unasked, waived=("schema_incompatible", "better")).verdict == "passed"


def test_only_the_first_differences_of_a_schema_are_named() -> None:
    many = replace(compared(counted(40, 4, 412)), incompatible=tuple("abcde"))
    assert "would be refused: a; b; c; and 2 more" in judge(GATES, many).sentence
    assert judge(GATES, replace(many, incompatible=())).verdict == "passed"
    assert judge(GATES, many, waived=("schema_incompatible",)).verdict == "passed"


def test_latency_size_and_learners_gate_where_a_project_asks_for_them() -> None:
    good = compared(counted(40, 4, 412))
    assert judge(Gates(latency_ms=5.0, size_mb=2.0), replace(good, latency_ms=4.0, size_mb=1.5)).verdict == "passed"
    assert "at most 2 MB asked" in judge(Gates(size_mb=2.0), replace(good, size_mb=2.5)).sentence
    assert judge(Gates(size_mb=2.0), good).verdict == "refused"  # not measured
    gates = Gates(beat=("tree",))
    assert judge(gates, good).verdict == "refused"  # not measured
    tree = replace(good, fresh=replace(good.fresh, others={"tree": good.fresh.candidate}))
    assert "tree: 0.0 points" in judge(gates, tree).sentence.replace("+", "")
    assert judge(gates, tree, waived=("tree",)).verdict == "passed"
    assert judge(Gates(), tree).verdict == "passed"  # it stands on the card only


def test_a_judgement_says_what_it_compared_with() -> None:
    judgement = judge(GATES, replace(compared(counted(40, 4, 412)), anchor_version="0a1b2c"))
    assert (judgement.champion, judgement.anchor) == ("6", "0a1b2c")


@pytest.mark.parametrize("metric", ["accuracy", "f1", "log_loss"])
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_hardly_any_rows_tell_nothing_and_break_nothing(metric: str, rows: int) -> None:
    truth, right, wrong = np.full(rows, "1", dtype=object), np.array([0.1, 0.9]), np.array([0.9, 0.1])
    fresh = sample(
        metric,
        truth,
        np.arange(rows),
        candidate=np.tile(right, (rows, 1)),
        champion=np.tile(wrong, (rows, 1)),
        baseline=np.tile(wrong, (rows, 1)),
        levels=("0", "1"),
    )
    judgement = judge(Gates(anchor_rows=0), Comparison(metric=metric, fresh=fresh, metrics={}))
    assert judgement.verdict == "kept"
    assert "at least 20 entities are needed" in judgement.sentence


@pytest.mark.parametrize("metric", ["accuracy", "f1", "log_loss"])
def test_a_champion_that_knows_fewer_levels_is_compared_all_the_same(metric: str) -> None:
    rng = np.random.default_rng(0)
    truth = np.array(["a", "b", "c"], dtype=object)[rng.integers(0, 3, 300)]
    candidate = np.eye(3)[[("a", "b", "c").index(value) for value in truth]] * 0.9 + 0.1 / 3
    champion = np.eye(2)[[("b", "a", "b").index(value) if value != "c" else 0 for value in truth]]
    rows = sample(
        metric,
        truth,
        np.arange(300),
        candidate=candidate,
        champion=champion,
        baseline=np.full((300, 3), 1 / 3),
        levels=("a", "b", "c"),
        champion_levels=("b", "a"),
    )
    comparison = Comparison(metric=metric, fresh=rows, metrics={})
    assert judge(Gates(anchor_rows=0), comparison).verdict == "passed"


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_numbers_are_judged_like_classes(metric: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(100, 20, 480)
    good, bad = truth + rng.normal(0, 3, 480), truth + rng.normal(0, 6, 480)
    days = np.repeat(np.arange("2026-01-01", "2026-02-10", dtype="datetime64[D]"), 12)

    def comparison(candidate: np.ndarray, champion: np.ndarray) -> Comparison:
        rows = sample(
            metric,
            truth,
            days,
            candidate=candidate[:, None],
            champion=champion[:, None],
            baseline=np.full((480, 1), 100.0),
            unit="days",
        )
        return Comparison(metric=metric, fresh=rows, anchor=rows, metrics={}, champion="6")

    gates = Gates(margin=0.5)
    won = judge(gates, comparison(good, bad))
    assert won.verdict == "passed"
    assert "in 40 days against v6" in won.sentence
    assert judge(gates, comparison(bad, good)).verdict == "refused"


def promoted(accuracy: float, challengers: int) -> int:
    contests = (contest((accuracy, 0.90), anchor=(accuracy + 0.07, 0.97), seed=seed) for seed in range(challengers))
    gates = replace(GATES, baseline=False)
    return sum(judge(gates, comparison).verdict == "passed" for comparison in contests)


@pytest.mark.parametrize(
    ("accuracy", "luckiest"),
    [
        (
            0.90,
            15,
        ),  # as good as the champion: the rule lets 5 % by, so that 95 times in 100 at most 15 of 200 come through
        (0.89, 2),  # a point worse: 1 %
    ],
)
def test_a_challenger_that_is_no_better_is_seldom_promoted(accuracy: float, luckiest: int) -> None:
    assert promoted(accuracy, 200) <= luckiest


@pytest.mark.soak
@pytest.mark.parametrize(("accuracy", "most"), [(0.90, 0.05), (0.89, 0.01)])
def test_of_many_challengers_no_more_come_through_than_the_rule_allows(accuracy: float, most: float) -> None:
    count = 4000
    assert promoted(accuracy, count) <= most * count + 2 * (most * count) ** 0.5


def test_a_rule_that_asks_for_a_better_estimate_only_would_let_half_of_them_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.gates.tail", lambda _before: 0.5)
    assert promoted(0.90, 50) > 10  # of 200, the test above would count more than 40


def test_a_challenger_that_is_clearly_better_is_seldom_sent_back() -> None:
    verdicts = [judge(GATES, contest((0.94, 0.86), seed=seed)).verdict for seed in range(40)]
    assert verdicts.count("passed") >= 36
    assert "refused" not in verdicts


def test_the_same_comparison_gets_the_same_judgement_and_fast() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=10_000)
    values = [(truth + rng.normal(0, s, 10_000))[:, None] for s in (1.0, 1.1, 3.0)]
    rows = sample("mae", truth, np.arange(10_000), candidate=values[0], champion=values[1], baseline=values[2])
    comparison = Comparison(metric="mae", fresh=rows, anchor=rows, metrics={}, champion="6")
    started = time.process_time()
    first = judge(Gates(margin=0.1), comparison)
    assert time.process_time() - started < 3.0  # 0.3 s when nothing else runs
    assert first == judge(Gates(margin=0.1), comparison)
