import sys
from pathlib import Path

import pytest

from data.errors import BadDeclaration, BadSetting, BrokenProject, NoSuchProject
from data.schema import Number
from projects import discovery
from tasks.resources import connect
from tasks.settings import Settings, read_settings

GOOD = """
from projects.declaration import Category, Model, Number, Project, Schema

project = Project(
    name="{name}",
    task="classification",
    schema=Schema(columns={{"x": Number(), "y": Category(levels=("a", "b"))}}, target="y", key="id"),
    source=lambda: [],
    model=Model(network="mlp"),
)
"""


def write(folder: Path, name: str, text: str = GOOD) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(text.format(name=name) if text is GOOD else text)
    return path


def test_shipped_projects_are_found_and_load() -> None:
    loaded, broken = discovery.load_all(())
    assert {"digits", "electricity"} <= set(loaded)
    assert broken == {}


def test_a_file_that_fails_disables_only_its_own_project_and_names_the_line(tmp_path: Path) -> None:
    write(tmp_path, "fine")
    write(tmp_path, "broken", "# Project(\nx = 1\nraise RuntimeError('no sensor table')\n")
    loaded, broken = discovery.load_all((tmp_path,))
    assert "fine" in loaded
    assert broken["broken"].where.endswith("broken.py:3")
    assert "no sensor table" in str(broken["broken"])


def test_a_wrong_key_names_the_nearest_right_one_and_its_line(tmp_path: Path) -> None:
    text = GOOD.replace("model=Model", "modle=Model").format(name="typo")
    write(tmp_path, "typo", text)
    with pytest.raises(BrokenProject, match=r"typo\.py:\d+.*no 'modle'; did you mean 'model'\?"):
        discovery.load("typo", (tmp_path,))


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('task="classification"', 'task="clasification"', "no task 'clasification'; did you mean 'classification'?"),
        ("source=lambda", 'evaluation=Evaluation(metric="acuracy"), source=lambda', "did you mean 'accuracy'?"),
        ("\nproject =", "\nfrom .nets.mine import Net\n\nproject =", "No module named '.nets'"),
    ],
)
def test_a_wrong_word_is_named_as_it_was_written(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert right in GOOD
    text = GOOD.replace(right, wrong).replace("import Category", "import Category, Evaluation").format(name="typo")
    write(tmp_path, "typo", text)
    with pytest.raises(BrokenProject) as caught:
        discovery.load("typo", (tmp_path,))
    assert said in str(caught.value)


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    write(tmp_path, "cut", "x = 1\nproject = Project(name==1)\n")
    with pytest.raises(BrokenProject, match=r"cut\.py:2"):
        discovery.load("cut", (tmp_path,))


def test_an_unknown_project_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(NoSuchProject, match="did you mean 'digits'"):
        discovery.load("digit", (tmp_path,))


def test_a_repository_with_its_own_models_and_data_is_not_confused_with_ours(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("")
    (tmp_path / "models" / "net.py").write_text("WIDTH = 7\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("OWN = True\n")
    text = "from .models.net import WIDTH\nfrom .data import OWN\nimport models.declarations\n" + GOOD.replace(
        'network="mlp"', 'network="mlp", options={{"hidden": (WIDTH,)}}'
    ).format(name="mine")
    write(tmp_path, "mine", text)
    project = discovery.load("mine", (tmp_path,))
    assert project.model.options["hidden"] == (7,)
    assert sys.modules["models.declarations"].__file__ != str(tmp_path / "models" / "net.py")


def test_an_edited_file_is_loaded_anew(tmp_path: Path) -> None:
    write(tmp_path, "edited")
    before = discovery.load("edited", (tmp_path,))
    write(tmp_path, "edited", GOOD.replace("Number()", "Number(low=3)").format(name="edited"))
    after = discovery.load("edited", (tmp_path,))
    assert before.schema.columns["x"] == Number()
    assert after.schema.columns["x"] == Number(low=3)


@pytest.mark.parametrize("name", ["Digits", "1st", "a-b", ""])
def test_names_that_no_tool_would_take_are_refused(name: str) -> None:
    from projects.declaration import Category, Model, Project, Schema

    with pytest.raises(BadDeclaration):
        Project(
            name=name,
            task="classification",
            schema=Schema(columns={"y": Category(levels=("a",))}, target="y", key="id"),
            source=list,
            model=Model(network="mlp"),
        )


def test_the_stack_runs_the_examples_asked_for_and_those_that_were_ingested(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert connect(Settings(home=home)).projects()[0].keys() == {"digits"}
    (home / "registry" / "iris").mkdir(parents=True)
    assert connect(Settings(home=home)).projects()[0].keys() == {"digits", "iris"}
    assert connect(Settings(home=home, examples="")).projects()[0].keys() == {"iris"}
    assert connect(Settings(home=home, examples="heart, mnist")).projects()[0].keys() == {"iris", "heart", "mnist"}
    assert connect(Settings(home=home, examples="all")).projects()[0].keys() == set(discovery.shipped())


def test_an_example_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"HOLDFAST_EXAMPLES: no shipped project is named 'iriss'; there are .*iris"):
        read_settings(home=tmp_path, examples="digits,iriss")


def test_a_user_s_file_runs_beside_the_examples_and_in_place_of_one_of_its_name(tmp_path: Path) -> None:
    write(tmp_path, "mine")
    write(tmp_path, "heart")
    loaded, _ = connect(Settings(home=tmp_path / "home", projects=str(tmp_path), examples="")).projects()
    assert loaded.keys() == {"mine", "heart"}
    assert discovery.file_of(loaded["heart"]) == tmp_path / "heart.py"
