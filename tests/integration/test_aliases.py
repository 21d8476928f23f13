from datetime import timedelta
from pathlib import Path

import pytest
from loop_parts import Orchard, Orchestra, damage, judgement

from data.errors import ServerUnavailable
from models.judging import Outcome
from models.registry import Registry
from monitoring.store.requests import Requests
from tasks import aliases, approving, asking, promoting, promotion, referencing, requesting
from tasks.keeping import Keeper

HOUR = timedelta(hours=1)


@pytest.fixture
def orchestra() -> Orchestra:
    return Orchestra()


@pytest.fixture
def keeper(orchard: Orchard, orchestra: Orchestra) -> Keeper:
    return orchestra.keeper(orchard)


def ask_for(orchard: Orchard, version: str) -> None:
    """Give a version the alias, as a person does in MLflow."""
    orchard.models.client.set_registered_model_alias(orchard.name, "champion", version)


def first_line(orchard: Orchard, version: str) -> str:
    return orchard.models.version(orchard.name, version).description.splitlines()[0]


def champion(orchard: Orchard) -> str | None:
    return orchard.models.alias(orchard.name, "champion")


def refusals(orchard: Orchard) -> list[str]:
    return [line.reason for line in orchard.store.ledger.decisions(orchard.name, kinds=("refuse",))]


def tags(orchard: Orchard, version: str) -> dict[str, str]:
    return dict(orchard.models.version(orchard.name, version).tags)


def test_an_alias_that_was_removed_comes_back(orchard: Orchard, keeper: Keeper) -> None:
    version = orchard.promote()
    decided = orchard.store.ledger.decisions(orchard.name)
    orchard.models.client.delete_registered_model_alias(orchard.name, "champion")
    keeper.requester.reconcile(orchard.name)
    assert champion(orchard) == version
    assert orchard.generations == [version]
    keeper.requester.reconcile(orchard.name)
    [told, *before] = orchard.store.ledger.decisions(orchard.name)
    assert (told.kind, before) == ("restore", decided)
    assert "was given back" in told.reason


def test_aliases_of_the_users_own_are_nobodys_business(orchard: Orchard, keeper: Keeper) -> None:
    serving, other = orchard.promote(), orchard.register("refused")
    orchard.models.client.set_registered_model_alias(orchard.name, "favourite", other)
    decided = orchard.store.ledger.decisions(orchard.name)
    keeper.round()
    assert orchard.models.aliases(orchard.name) == {"champion": serving, "favourite": other}
    assert orchard.store.ledger.decisions(orchard.name) == decided


def test_an_alias_given_to_a_version_that_served_before_is_a_rollback_and_never_undone(
    orchard: Orchard, keeper: Keeper
) -> None:
    first, second = orchard.promote(), orchard.promote()
    ask_for(orchard, first)
    for _ in range(3):
        keeper.requester.reconcile(orchard.name)
    assert orchard.generations == [first, second, first]
    assert orchard.serving.actor == "unauthenticated (MLflow UI)"
    assert champion(orchard) == first


def test_an_alias_given_to_a_challenger_that_passed_promotes_it(orchard: Orchard, keeper: Keeper) -> None:
    first, second = orchard.promote(), orchard.register()
    ask_for(orchard, second)
    for _ in range(3):
        keeper.requester.reconcile(orchard.name)
    assert orchard.generations == [first, second]
    assert orchard.serving.actor == "unauthenticated (MLflow UI)"
    assert orchard.models.aliases(orchard.name) == {"champion": second, "previous": first}


def test_an_alias_given_to_a_refused_version_is_put_back_once_with_the_way_to_waive(
    orchard: Orchard, keeper: Keeper
) -> None:
    serving, refused = orchard.promote(), orchard.register("refused")
    ask_for(orchard, refused)
    for _ in range(3):
        keeper.requester.reconcile(orchard.name)
    assert champion(orchard) == serving
    assert orchard.generations == [serving]
    said = first_line(orchard, refused)
    assert said.startswith("REFUSED")
    assert f"holdfast promote {orchard.name} {refused} --waive floor:accuracy --waive better" in said
    assert len(refusals(orchard)) == 1
    assert tags(orchard, refused)["stage"] == "refused"


def test_an_alias_moved_again_within_the_hour_is_left_where_it_is_and_people_hear_of_it_once(
    orchard: Orchard, keeper: Keeper
) -> None:
    serving, refused = orchard.promote(), orchard.register("refused")
    for _ in range(2):
        ask_for(orchard, refused)
        for _ in range(3):
            keeper.requester.reconcile(orchard.name)
    assert (champion(orchard), orchard.generations) == (refused, [serving])
    assert tags(orchard, refused)["stage"] == "refused"
    assert f"left here now: version {serving} goes on serving" in first_line(orchard, refused)
    [incident] = orchard.store.incidents.open_ones(orchard.name)
    assert incident.kind == "alias"
    assert f"names version {refused}, which was refused and does not serve" in incident.reason
    assert orchard.outbox() == ["log"]
    assert len(refusals(orchard)) == 2
    orchard.store.requests.add(orchard.name, refused, "webhook", orchard.now())  # the same alias, set once more
    keeper.round()
    assert (champion(orchard), orchard.outbox()) == (refused, [])  # sent, and nothing new
    aliases.mirror(orchard, orchard.name)  # as any promotion does
    keeper.requester.reconcile(orchard.name)
    assert orchard.store.incidents.open_ones(orchard.name) == []
    orchard.ahead += HOUR
    ask_for(orchard, refused)
    keeper.requester.reconcile(orchard.name)
    assert champion(orchard) == serving  # a new hour, put back once more


def test_a_version_never_judged_is_judged_by_a_run_before_it_is_refused(
    orchard: Orchard, keeper: Keeper, orchestra: Orchestra
) -> None:
    serving, version = orchard.promote(), orchard.register(verdict=None)
    ask_for(orchard, version)
    for _ in range(3):
        keeper.requester.reconcile(orchard.name)
    [request] = orchard.store.requests.open_ones(orchard.name)
    said = {"project": orchard.name, "version": version, "request": request.id}
    assert orchestra.asked == [(f"promote/{orchard.name}", said, f"request-{request.id}-1")]
    assert (champion(orchard), tags(orchard, version)["stage"]) == (version, "judging")
    orchestra.judge(orchard)
    keeper.round()
    assert (champion(orchard), orchard.generations) == (serving, [serving])
    assert first_line(orchard, version).startswith("REFUSED: ")  # it is the champion's own network
    assert f"against v{serving}" in first_line(orchard, version)
    assert str(orchard.settings.home) not in orchard.models.version(orchard.name, version).description


def test_a_version_never_judged_that_passes_is_granted_once_a_run_has_judged_it(
    orchard: Orchard, keeper: Keeper, orchestra: Orchestra
) -> None:
    asked = orchard.register(verdict=None)
    ask_for(orchard, asked)
    keeper.requester.reconcile(orchard.name)
    assert orchard.generations == []
    orchestra.judge(orchard)
    keeper.round()
    assert orchard.generations == [asked]
    assert orchard.serving.actor == "unauthenticated (MLflow UI)"
    assert [gate["gate"] for gate in orchard.serving.gates] == ["floor:accuracy"]


def test_a_run_that_dies_is_followed_by_another_and_not_for_ever(
    orchard: Orchard, keeper: Keeper, orchestra: Orchestra
) -> None:
    serving, version = orchard.promote(), orchard.register(verdict=None)
    ask_for(orchard, version)
    for _ in range(5):
        keeper.requester.reconcile(orchard.name)
        orchestra.states |= {f"run-{key}": "Crashed" for key in orchestra.runs}
    assert [key.rpartition("-")[2] for key in orchestra.runs] == ["1", "2", "3"]
    assert champion(orchard) == serving
    assert "3 runs that should judge it anew have ended without a verdict" in first_line(orchard, version)


def test_a_promotion_that_comes_first_has_the_other_judged_anew_and_is_no_error(
    orchard: Orchard, keeper: Keeper, orchestra: Orchestra, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, faster = orchard.register(), orchard.register()
    build, slow = referencing.build_reference, list[bool]()

    def overtaken(*arguments: object) -> object:
        if not slow:
            slow.append(True)
            promotion.promote(orchard.another(), orchard.name, faster, actor="ada", reason="mine is ready")
            ask_for(orchard, asked)  # the promotion has written its aliases, and the person insists
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(promotion, "build_reference", overtaken)
    orchard.store.requests.add(orchard.name, asked, "webhook", orchard.now())
    ask_for(orchard, asked)
    keeper.round()
    assert (orchard.generations, refusals(orchard)) == ([faster], [])
    keeper.round()
    orchestra.judge(orchard)
    assert promotion.compared_with(promotion.verdict_on(orchard, orchard.name, asked)) == faster
    keeper.round()
    assert (champion(orchard), len(refusals(orchard))) == (faster, 1)  # the two are the same network


def test_a_request_that_was_taken_back_before_its_answer_is_not_granted(
    orchard: Orchard, keeper: Keeper, orchestra: Orchestra
) -> None:
    waiting = orchard.register(verdict=None)
    ask_for(orchard, waiting)
    keeper.requester.reconcile(orchard.name)
    orchard.models.client.delete_registered_model_alias(orchard.name, "champion")
    orchestra.judge(orchard)
    keeper.round()
    assert orchard.generations == []
    assert orchard.store.requests.open_ones(orchard.name) == []
    assert orchard.store.ledger.decisions(orchard.name, kinds=("withdraw",))
    assert tags(orchard, waiting)["stage"] == "challenger"


@pytest.mark.parametrize("where", ["head", "restore", "handled"])
def test_a_refusal_cut_off_on_the_way_is_finished_and_decided_once(
    orchard: Orchard, keeper: Keeper, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    serving, refused = orchard.promote(), orchard.register("refused")

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    place: object = {"head": Registry, "restore": requesting, "handled": Requests}[where]
    with monkeypatch.context() as crash:
        crash.setattr(place, where, cut)
        ask_for(orchard, refused)
        with pytest.raises(KeyboardInterrupt):
            keeper.requester.reconcile(orchard.name)
    for _ in range(2):
        keeper.round()
    assert (champion(orchard), len(refusals(orchard))) == (serving, 1)
    assert first_line(orchard, refused).startswith("REFUSED")
    assert orchard.store.requests.open_ones() == []


class TestTheTag:
    def ask(self, orchard: Orchard, version: str) -> None:
        orchard.models.client.set_model_version_tag(orchard.name, version, "promote", "True")

    def test_promote_true_is_the_same_request_and_says_that_it_was_granted(
        self, orchard: Orchard, keeper: Keeper
    ) -> None:
        first, second = orchard.promote(), orchard.register()
        self.ask(orchard, second)
        keeper.requester.reconcile(orchard.name)
        keeper.requester.reconcile(orchard.name)
        assert orchard.generations == [first, second]
        assert champion(orchard) == second
        assert tags(orchard, second)["promote"] == "granted"
        assert "promote=true" in orchard.serving.reason

    def test_or_refused_and_the_alias_stays_where_it_is(self, orchard: Orchard, keeper: Keeper) -> None:
        serving, refused = orchard.promote(), orchard.register("refused")
        for _ in range(2):
            self.ask(orchard, refused)
            for _ in range(2):
                keeper.requester.reconcile(orchard.name)
        assert (champion(orchard), orchard.generations) == (serving, [serving])
        assert (tags(orchard, refused)["promote"], tags(orchard, refused)["stage"]) == ("refused", "refused")
        assert len(refusals(orchard)) == 2
        assert orchard.store.incidents.open_ones(orchard.name) == []


def test_an_alias_given_to_a_version_that_is_none_of_ours_is_put_back(
    orchard: Orchard, keeper: Keeper, orchestra: Orchestra
) -> None:
    serving = orchard.promote()
    client = orchard.models.client
    with orchard.models.start_run(orchard.name, name="a notebook", tags={}) as run:
        run.text("model/weights.txt", "none")
    by_hand = client.create_model_version(orchard.name, f"runs:/{run.id}/model", run.id).version
    of_no_run = client.create_model_version(orchard.name, "s3://elsewhere/model").version
    copied = orchard.register(verdict=None, ours=False)  # to the byte, and no training of ours made it
    for version in (str(by_hand), str(of_no_run), copied):
        ask_for(orchard, version)
        keeper.requester.reconcile(orchard.name)
        orchestra.judge(orchard)
        keeper.requester.reconcile(orchard.name)
        assert champion(orchard) == serving
        assert "was not made by a training of this home" in first_line(orchard, version)
    assert orchestra.runs == []
    assert len(refusals(orchard)) == 3


def test_a_version_spoiled_or_deleted_never_serves(orchard: Orchard, keeper: Keeper, mlflow_folder: Path) -> None:
    first, serving, spoiled = orchard.promote(), orchard.promote(), orchard.register()
    for version in (first, spoiled):
        damage(mlflow_folder, orchard, version)
        ask_for(orchard, version)
        keeper.requester.reconcile(orchard.name)
        assert champion(orchard) == serving
        assert "network.onnx is corrupt" in first_line(orchard, version)
    gone = orchard.register()
    request, _ = orchard.store.requests.add(orchard.name, gone, "webhook", orchard.now())
    orchard.models.client.delete_model_version(orchard.name, gone)
    keeper.round()
    assert orchard.generations == [first, serving]
    assert str(orchard.store.requests.get(request.id).outcome).startswith("withdrawn")  # type: ignore[union-attr]


def test_stages_of_champions_of_long_ago_are_retired(orchard: Orchard) -> None:
    versions = [orchard.promote() for _ in range(4)]
    assert [tags(orchard, version)["stage"] for version in versions] == ["retired", "retired", "previous", "champion"]
    assert orchard.models.aliases(orchard.name) == {"champion": versions[3], "previous": versions[2]}


def test_a_request_is_not_refused_because_a_server_was_away(
    orchard: Orchard, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise ServerUnavailable("MLflow does not answer")

    orchard.promote()
    asked = orchard.register()
    ask_for(orchard, asked)
    with monkeypatch.context() as outage:
        outage.setattr(Registry, "download", away)
        with pytest.raises(ServerUnavailable):
            keeper.requester.reconcile(orchard.name)
    assert champion(orchard) == asked
    assert refusals(orchard) == []
    keeper.requester.reconcile(orchard.name)
    assert orchard.serving.version == asked


def test_a_champion_deleted_in_the_registry_goes_on_serving_and_people_hear_of_it_once(
    orchard: Orchard, keeper: Keeper
) -> None:
    gone = orchard.promote()
    keeper.fetch(orchard.name)
    orchard.models.client.delete_model_version(orchard.name, gone)
    for _ in range(3):
        keeper.requester.reconcile(orchard.name)
        keeper.fetch(orchard.name)
    assert orchard.generations == [gone]
    assert orchard.pointed["version"] == gone  # type: ignore[index]
    orchard.kept(1)
    found = orchard.store.incidents.open_ones(orchard.name)
    assert [one.kind for one in found] == ["registry"]
    assert f"version {gone}" in found[0].reason
    assert orchard.outbox() == ["log"]
    newer = orchard.promote()
    keeper.fetch(orchard.name)
    keeper.requester.reconcile(orchard.name)
    assert champion(orchard) == newer
    assert orchard.store.incidents.open_ones(orchard.name) == []


def test_a_promotion_that_died_before_its_aliases_is_finished(
    orchard: Orchard, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = orchard.promote()
    with monkeypatch.context() as crash:
        crash.setattr("tasks.aliases.mirror", lambda *_: None)
        second = orchard.promote()
    assert champion(orchard) == first
    keeper.requester.reconcile(orchard.name)
    assert orchard.models.aliases(orchard.name) == {"champion": second, "previous": first}
    assert orchard.generations == [first, second]


def test_an_alias_that_has_yet_to_follow_a_promotion_asks_for_nothing_whoever_tells_of_it(
    orchard: Orchard, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = orchard.promote()
    with monkeypatch.context() as crash:
        crash.setattr("tasks.aliases.mirror", lambda *_: None)
        second = orchard.promote()
    orchard.store.requests.add(orchard.name, first, "webhook", orchard.now(), delivery="late")
    keeper.requester.answer(orchard.store.requests.open_ones()[0])
    assert orchard.generations == [first, second]
    assert orchard.models.aliases(orchard.name) == {"champion": second, "previous": first}
    assert (orchard.store.requests.open_ones(), tags(orchard, first)["stage"]) == ([], "previous")


def test_an_alias_given_to_a_version_that_a_person_rejected_is_refused_with_the_way_to_promote_it(
    orchard: Orchard, keeper: Keeper
) -> None:
    serving, rejected = orchard.promote(), orchard.register()
    asking.ask(orchard, orchard.declared, rejected, judgement("passed"), champion=serving, intent=None, token=None)
    approving.reject(orchard, orchard.name, rejected, actor="ada", reason="not on a Friday")
    ask_for(orchard, rejected)
    keeper.requester.reconcile(orchard.name)
    assert (champion(orchard), orchard.generations) == (serving, [serving])
    assert "was rejected by ada" in first_line(orchard, rejected)
    assert f"holdfast promote {orchard.name} {rejected} --reason" in first_line(orchard, rejected)
    promoting.promote(orchard, orchard.name, rejected, actor="bob", reason="it is Monday")
    assert orchard.generations == [serving, rejected]


class TestBeforeAnythingServes:
    def judged(self, orchard: Orchard, verdict: Outcome) -> str:
        """A version about which the ledger says what `promotion.settle` makes it say."""
        version, kind = orchard.register(verdict), "ask" if verdict == "passed" else "refuse"
        orchard.store.ledger.decide(
            orchard.name, kind=kind, subject=f"version {version}", reason=verdict, inputs={}, now=orchard.now()
        )
        return version

    def test_an_alias_given_to_a_version_that_waits_makes_it_the_first_champion(
        self, orchard: Orchard, keeper: Keeper
    ) -> None:
        version = self.judged(orchard, "passed")
        keeper.round()
        assert orchard.generations == []
        ask_for(orchard, version)
        orchard.ahead += timedelta(seconds=10)
        keeper.round()
        assert orchard.generations == [version]
        assert orchard.serving.actor == "unauthenticated (MLflow UI)"

    def test_an_alias_given_to_a_refused_version_is_taken_away_once_with_the_way_to_waive(
        self, orchard: Orchard, keeper: Keeper
    ) -> None:
        version = self.judged(orchard, "refused")
        ask_for(orchard, version)
        for _ in range(3):
            orchard.ahead += timedelta(seconds=10)
            keeper.round()
        assert (champion(orchard), orchard.generations) == (None, [])
        assert "--waive floor:accuracy" in first_line(orchard, version)
        assert len(refusals(orchard)) == 2  # by the gates, and to the person
