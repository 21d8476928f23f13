from pathlib import Path

import pytest
from approval_parts import answer, ask, attend, kinds, orchestra, people_decide, question, stage
from loop_parts import Orchard, Orchestra, damage
from store_parts import race

from data.errors import Answered, BadSetting, HoldfastError, NotPromotable
from tasks import approving, promotion

__all__ = ["orchestra", "people_decide"]


class TestAnswers:
    def test_a_version_that_passed_serves_once_a_person_says_yes(self, orchard: Orchard) -> None:
        version = ask(orchard)
        assert orchard.generations == []
        assert "serves as generation 1: I looked at it" in answer(orchard, approving.approve, version)
        assert (orchard.serving.actor, orchard.serving.waived) == ("ada", ())
        asked = question(orchard, version)
        assert (asked.answer, asked.actor, asked.why) == ("approved", "ada", "I looked at it")
        assert kinds(orchard) == ["ask", "promote"]
        assert orchard.store.ledger.decisions(orchard.name, kinds=("promote",))[0].inputs["approval"] == asked.id

    def test_a_yes_to_a_question_waives_by_name_what_failed(self, orchard: Orchard) -> None:
        champion, version = orchard.promote(), ask(orchard, "question")
        answer(orchard, approving.approve, version)
        assert orchard.generations == [champion, version]
        assert orchard.serving.waived == ("better",)
        assert orchard.store.ledger.decisions(orchard.name, kinds=("promote",))[0].inputs["waived"] == ["better"]

    def test_a_question_asks_people_even_where_promotions_need_no_one(self, orchard: Orchard) -> None:
        champion = orchard.promote()
        orchard.declare(('promote="approve"', 'promote="auto"'))
        version = ask(orchard, "question")
        assert question(orchard, version).champion == champion
        assert ask(orchard, "passed") == orchard.serving.version

    def test_a_no_leaves_in_place_what_serves_and_takes_the_version_off_the_list(
        self, orchard: Orchard, orchestra: Orchestra
    ) -> None:
        champion, version = orchard.promote(), ask(orchard)
        assert (stage(orchard, version), orchard.models.alias(orchard.name, "challenger")) == ("challenger", version)
        said = answer(orchard, approving.reject, version, "not on a Friday")
        assert f"rejected by ada: not on a Friday; version {champion} goes on serving" in said
        attend(orchard, orchestra)
        assert orchard.generations == [champion]
        assert (stage(orchard, version), orchard.models.alias(orchard.name, "challenger")) == ("refused", None)
        page = orchard.models.version(orchard.name, version).description
        assert page.startswith(f"REJECTED: version {version} of {orchard.name} was rejected by ada")
        assert orchard.store.approvals.unclosed() == []
        assert kinds(orchard) == ["promote", "ask", "reject"]

    def test_the_same_answer_twice_says_what_was_answered_before(self, orchard: Orchard) -> None:
        yes, no = ask(orchard), ask(orchard)
        answer(orchard, approving.reject, no)
        answer(orchard, approving.approve, yes)
        decided = kinds(orchard)
        assert "was approved by ada" in answer(orchard, approving.approve, yes, actor="bob")
        assert "was rejected by ada" in answer(orchard, approving.reject, no, actor="bob")
        with pytest.raises(Answered, match=r"was approved by ada at .*: I looked at it"):
            answer(orchard, approving.reject, yes, actor="bob")
        with pytest.raises(Answered, match=rf"was rejected by ada .* holdfast promote {orchard.name} {no}"):
            answer(orchard, approving.approve, no, actor="bob")
        assert kinds(orchard) == decided
        assert orchard.generations == [yes]

    def test_of_answers_at_once_exactly_one_holds(self, orchard: Orchard) -> None:
        version = ask(orchard)
        ways = [approving.approve, approving.reject] * 3

        def say(number: int) -> str:
            return answer(orchard.another(), ways[number], version, actor=f"person {number}")

        got = race(6, say)
        won = [one for one in got if isinstance(one, str) and "nothing is changed" not in one]
        assert len(won) == 1
        held = question(orchard, version)
        assert orchard.generations == ([version] if held.answer == "approved" else [])
        assert len([kind for kind in kinds(orchard) if kind in ("promote", "reject")]) == 1
        lost = [one for one in got if isinstance(one, HoldfastError)]
        assert all(isinstance(one, Answered) and f"was {held.answer} by {held.actor}" in str(one) for one in lost)

    @pytest.mark.parametrize("reason", ["", "  ", " ok "])
    def test_an_answer_without_a_reason_is_none(self, orchard: Orchard, reason: str) -> None:
        version = ask(orchard)
        for give in (approving.approve, approving.reject):
            with pytest.raises(BadSetting, match="needs a reason"):
                answer(orchard, give, version, reason)
        assert question(orchard, version).answer is None

    def test_an_answer_about_which_nobody_was_asked_says_what_waits(self, orchard: Orchard) -> None:
        with pytest.raises(NotPromotable, match=r"nobody was asked about version 7 .* `holdfast approvals`"):
            answer(orchard, approving.approve, "7")
        with pytest.raises(HoldfastError, match="no project named 'plumbs'"):
            approving.reject(orchard, "plumbs", "7", actor="ada", reason="I looked at it")

    def test_a_promotion_by_any_other_way_is_the_answer(self, orchard: Orchard) -> None:
        version = ask(orchard)
        promotion.promote(orchard, orchard.name, version, actor="bob", reason="at the command line")
        assert (question(orchard, version).answer, question(orchard, version).actor) == ("approved", "bob")

    def test_a_promotion_that_names_no_version_means_the_newest_that_waits(self, orchard: Orchard) -> None:
        with pytest.raises(NotPromotable, match=r"no version of .* waits"):
            approving.newest(orchard, orchard.name)
        older, newer = ask(orchard), ask(orchard)
        assert approving.newest(orchard, orchard.name) == newer
        answer(orchard, approving.reject, newer)
        assert approving.newest(orchard, orchard.name) == older


class TestWhatServesChanged:
    def test_another_champion_makes_the_question_void_and_says_how_to_ask_anew(
        self, orchard: Orchard, orchestra: Orchestra
    ) -> None:
        waiting = ask(orchard)
        newer = ask(orchard)
        answer(orchard, approving.approve, newer)
        why = f"version {newer} serves since, and it was judged against no champion"
        assert (question(orchard, waiting).answer, question(orchard, waiting).why) == ("void", why)
        with pytest.raises(Answered, match=rf"is void since .* holdfast promote {orchard.name} {waiting}"):
            answer(orchard, approving.approve, waiting)
        assert kinds(orchard) == ["ask", "ask", "promote", "void"]
        attend(orchard, orchestra)
        assert stage(orchard, waiting) == "candidate"
        assert stage(orchard, newer) == "champion"

    def test_a_deleted_version_can_not_serve_and_nobody_is_asked_about_it_any_more(self, orchard: Orchard) -> None:
        champion, version = orchard.promote(), ask(orchard)
        orchard.models.client.delete_model_version(orchard.name, version)
        with pytest.raises(NotPromotable, match=f"has no version {version}: it can't serve any more, .* train again"):
            answer(orchard, approving.approve, version)
        assert question(orchard, version).answer == "void"
        assert orchard.generations == [champion]

    def test_a_corrupt_version_can_not_serve_and_waits_for_its_files_or_a_no(
        self, orchard: Orchard, orchestra: Orchestra, mlflow_folder: Path
    ) -> None:
        champion, version = orchard.promote(), ask(orchard)
        damage(mlflow_folder, orchard, version)
        with pytest.raises(NotPromotable, match=r"can't serve: .*network\.onnx is corrupt.* approve it once more"):
            answer(orchard, approving.approve, version)
        assert question(orchard, version).answer is None
        answer(orchard, approving.reject, version, "its files are spoiled")
        attend(orchard, orchestra)
        assert orchard.generations == [champion]


class TestTheAlias:
    def test_it_is_a_yes_to_a_version_that_passed(self, orchard: Orchard) -> None:
        version = ask(orchard)
        assert approving.settle_by_alias(orchard, orchard.name, version, "somebody in MLflow") is not None
        assert orchard.serving.version == version
        assert question(orchard, version).why == "the alias `champion` was given in MLflow"

    def test_it_gives_no_reason_so_it_waives_nothing(self, orchard: Orchard) -> None:
        champion, version = orchard.promote(), ask(orchard, "question")
        with pytest.raises(NotPromotable, match=f"waives better and needs a reason: holdfast approve .* {version}"):
            approving.settle_by_alias(orchard, orchard.name, version, "somebody in MLflow")
        assert orchard.generations == [champion]
        assert question(orchard, version).answer is None

    def test_it_is_no_answer_where_nobody_was_asked(self, orchard: Orchard) -> None:
        assert approving.settle_by_alias(orchard, orchard.name, orchard.register(), "somebody in MLflow") is None
