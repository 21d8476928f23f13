"""No file of a version can run code, whoever sealed it, and none serves (P21)."""

import contextlib
import pickle
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
import serving_parts as parts
from evil_parts import EVIL, pickled, seal_by_force
from loop_parts import Orchard, Orchestra, artifacts, judgement
from vandal_parts import look, served_well

from data.errors import HoldfastError
from tasks import model_cards, promotion, registration, rejudging

FILED = [  # what can lie in the registry; the rest are links, or names that no server gives
    "pickle_as_weights",
    "huge_sparse_weights",
    "loader_module_alone",
    "loader_module",
    "pt2_with_pickled_constants",
    "nested_golden",
    "requirement_with_url",
    "objects_in_the_predictor",
    "torch_network_of_a_module",
    "external_data_above",
]


@dataclass(frozen=True)
class Den:
    """A service that is pointed at one sound version and at every evil one, each vouched for by its maker."""

    client: httpx.Client
    home: Path
    canary: Path


@pytest.fixture(scope="module")
def den(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Den]:
    home, canary = tmp_path_factory.mktemp("den"), tmp_path_factory.mktemp("mine") / "canary"
    parts.promote(home, 1, factor=2.0)
    for name, spoil in EVIL.items():
        folder = home / "generations" / name / "1"
        shutil.copytree(home / "generations" / "prices" / "1", folder)
        spoil(folder, canary)
        parts.point(home, name, 1, seal_by_force(folder))
    with parts.serving(home) as service, httpx.Client(base_url=service.url, timeout=20) as client:
        yield Den(client, home, canary)


def test_the_canary_tells_of_code_that_ran(tmp_path: Path) -> None:
    pickle.loads(pickled(tmp_path / "canary"))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", EVIL)
def test_no_evil_version_serves_and_each_is_refused_in_one_line(den: Den, name: str) -> None:
    told = den.client.get(f"/readyz/{name}").json()["projects"][name]
    assert not told["ready"]
    assert told["problem"]
    assert told["problem"].isprintable()
    refused = den.client.post(f"/v1/{name}/predict", json={"rows": [{"size": 1.0, "note": "a"}]})
    assert refused.status_code == 503
    assert refused.json()["error"].isprintable()
    assert not den.canary.exists()


def test_the_sound_version_beside_them_serves_and_every_page_opens(den: Den) -> None:
    answer = den.client.post("/v1/prices/predict", json={"rows": [{"size": 3.0, "note": "a"}]})
    assert answer.json()["predictions"][0]["value"] == 6.0
    for path in ("/", "/docs", "/openapi.json", "/metrics", "/readyz", "/v1/projects"):
        page = den.client.get(path)
        assert page.status_code in (200, 503), page.text
        assert "<img src=x" not in page.text or path != "/"
    assert not den.canary.exists()
    log = (den.home / "service.log").read_text()
    assert "\nERROR root: all is well" not in log
    assert "failed to load" not in log  # which would be an error that nobody foresaw


def test_an_evil_version_never_takes_the_place_of_one_that_serves(den: Den) -> None:
    folder = den.home / "generations" / "prices" / "2"
    shutil.copytree(den.home / "generations" / "pickle_as_network" / "1", folder)
    parts.point(den.home, "prices", 2, seal_by_force(folder))
    problem = ""
    while not problem:
        problem = den.client.get("/readyz/prices").json()["projects"]["prices"]["problem"]
    assert "network.onnx" in problem
    assert den.client.post("/v1/prices/predict", json={"rows": [{"size": 3.0, "note": "a"}]}).json()["generation"] == 1
    assert not den.canary.exists()


@pytest.mark.parametrize(
    "names",
    [pytest.param(FILED[:2], id="twin"), pytest.param(FILED[2:], id="soak", marks=pytest.mark.soak)],
)
def test_gates_promotions_and_the_keeper_refuse_what_lies_in_the_registry(
    orchard: Orchard, mlflow_folder: Path, tmp_path: Path, names: list[str]
) -> None:
    canary, orchestra = tmp_path / "canary", Orchestra()
    keeper = orchestra.keeper(orchard)
    orchard.promote()
    keeper.fetch(orchard.name)
    for name in names:
        version = orchard.register(None)
        folder = artifacts(mlflow_folder, orchard, version) / "model"
        EVIL[name](folder, canary)
        manifest = seal_by_force(folder)  # what was judged was evil already
        passed, models = judgement("passed"), orchard.models
        registration.tell_verdict(orchard, orchard.declared, version, passed, manifest=manifest, champion="1")
        for ask in (
            partial(rejudging.judge_anew, orchard, orchard.declared, version),
            partial(promotion.promote, orchard, orchard.name, version, actor="evil", reason="evil"),
        ):
            with pytest.raises(HoldfastError) as refused:
                ask()
            assert str(refused.value).isprintable(), name
        models.set_alias(orchard.name, "champion", version)
        look(orchard, orchestra, keeper)
        assert models.version(orchard.name, version).description.startswith("REFUSED: "), name
        assert models.alias(orchard.name, "champion") == "1", name
        assert not list(orchard.settings.home.glob("**/*.pkl"))
    assert served_well(orchard) == 1
    assert not canary.exists()


def test_a_card_and_a_snapshot_that_somebody_wrote_run_nothing_and_lead_nowhere(
    orchard: Orchard, mlflow_folder: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    version = orchard.promote()
    run = artifacts(mlflow_folder, orchard, version)
    for content in (pickled(canary), b"[" * 1_000_000, b'{"format": 1, "project": "<script>alert(1)</script>"}'):
        (run / "card.json").write_bytes(content)
        with contextlib.suppress(HoldfastError):
            model_cards.renew(orchard, orchard.name)
            model_cards.refresh(orchard, orchard.name, version)
        assert "<script>" not in orchard.models.version(orchard.name, version).description
    second = orchard.register("passed")
    path = artifacts(mlflow_folder, orchard, second) / "snapshot.json"
    for content in (pickled(canary), b"[" * 1_000_000, path.read_bytes().replace(b'"name": "', b'"name": "../../../')):
        path.write_bytes(content)
        with pytest.raises(HoldfastError) as refused:
            promotion.promote(orchard, orchard.name, second, actor="evil", reason="evil")
        assert str(refused.value).isprintable()
    assert not canary.exists()
