"""Whatever is done in MLflow, what is served is verified and has passed its gates (P5)."""

import contextlib
from pathlib import Path

import pytest
from loop_parts import Orchard, Orchestra
from vandal_parts import Vandal, look, served_well

from data.errors import NoSuchVersion

SOAK = [pytest.param(seed, 25, marks=pytest.mark.soak) for seed in range(11, 31)]


@pytest.mark.parametrize(("seed", "operations"), [(10, 10), *SOAK])
def test_whatever_is_done_in_the_registry_what_serves_is_verified_and_has_passed(
    orchard: Orchard, mlflow_folder: Path, seed: int, operations: int
) -> None:
    orchestra = Orchestra()
    keeper = orchestra.keeper(orchard)
    for _ in range(2):
        orchard.promote()
        look(orchard, orchestra, keeper)
    for verdict in ("passed", "refused", "kept", None, "passed"):
        orchard.register(verdict)
    vandal, number = Vandal(orchard, mlflow_folder, seed), served_well(orchard)
    acts = []
    for _ in range(operations):
        acts.append(vandal.act())
        look(orchard, orchestra, keeper)
        newest = served_well(orchard)
        assert newest >= number, acts
        number = newest
    assert number > 2, "no request was granted"
    vandal.client.delete_registered_model(orchard.name)
    for _ in range(3):
        look(orchard, orchestra, keeper)
        assert served_well(orchard) == number
    with contextlib.suppress(NoSuchVersion):
        keeper.requester.reconcile(orchard.name)
    assert len(orchard.store.incidents.open_ones(orchard.name)) == 1
