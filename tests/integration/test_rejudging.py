from loop_parts import Orchard

from models.predictor import manifest_sha256
from tasks.rejudging import judge_anew


def test_a_version_is_judged_anew_without_training_and_leaves_no_trace(orchard: Orchard) -> None:
    version = orchard.register(verdict=None)
    judgement, manifest, champion = judge_anew(orchard, orchard.declared, version)
    assert (judgement.verdict, champion) == ("passed", None)
    assert manifest == manifest_sha256(orchard.trained / "model")
    assert orchard.store.ledger.decisions(orchard.name) == []
    assert list(orchard.settings.home.glob(".judging-*")) == []


def test_it_is_compared_with_what_serves_now(orchard: Orchard) -> None:
    version = orchard.register(verdict=None)
    serving = orchard.promote()
    judgement, _, champion = judge_anew(orchard, orchard.declared, version)
    assert (judgement.verdict, champion) == ("kept", serving)  # it is the same network
    waived, _, _ = judge_anew(orchard, orchard.declared, version, waived=("better",))
    assert (waived.verdict, waived.waived) == ("passed", ("better",))
    assert waived.anchor is not None
