"""Settings of `movies`, chosen without the ratings that judge, and asked once.

    HOLDFAST_DATASETS=… OMP_NUM_THREADS=1 python bench/rankings.py

What is chosen from is each person's first four fifths. Of these the newest fifth judges, learned from what was before
it, and of that the newest fifth again: two earlier origins. Each of `GRID` is tried from both with one seed, the
leading ones with two more; each training is asked with several `lately`, which move biases after it. The RMSE decides
among those whose lists are shown to have a better recall@10 than the most popular items have, at the later origin; of
the best one that recall decides on `list_dropout`, as lists alone hang on it. What is chosen then meets each person's
last fifth, with the intervals of `holdfast evaluate`.
"""

import copy
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.schema import Rows, concatenate, length, take
from models.card_gains import gained
from models.card_words import bounded
from models.declarations import Model, Training
from models.encoding import Encoder
from models.factors import Factors
from models.lately import move, newest
from models.learners import learned_answers
from models.lists import RECALL, Asked, Rated
from models.metrics import value
from models.predictor import Predictor
from models.torch_session import Inside
from models.training import fit
from projects import movies
from projects.declaration import Project
from tasks.changes import good_rows
from tasks.preparation import newest_of_each
from tasks.protocols import deal
from tasks.recipe_report import apart, facts
from tasks.recipes import Evaluated, once

Origin = tuple[Rows, Rows]
"""Rows that are learned from, and the newer ones that judge."""


class Setting(NamedTuple):
    """What is tried: the network's options, and how fast weights decay."""

    network: str
    width: int
    dropout: float
    decay: float
    lists: float = 0.3

    def model(self, lately: int = 0) -> Model:
        """Return the network."""
        hidden = {"hidden": (16,), "hidden_dropout": 0.5} if self.network == "neural_factors" else {}
        options = {"width": self.width, "dropout": self.dropout, "list_dropout": self.lists, "lately": lately, **hidden}
        return Model(network=self.network, options=options)

    def training(self, seed: int = 0) -> Training:
        """Return how it learns."""
        return replace(movies.project.training, weight_decay=self.decay, seed=seed)

    def __str__(self) -> str:
        """Say it in a line of the table."""
        return f"{self.network:14}  {self.width:5}  {self.dropout:7}  {self.decay:5}"


DECAYS = (0.1, 0.2, 0.3, 0.5)
GRID = [
    *itertools.starmap(Setting, itertools.product(("factors",), (16, 32), (0.5, 0.7), DECAYS)),
    *itertools.starmap(Setting, itertools.product(("neural_factors",), (16,), (0.7,), DECAYS[1:])),
]
LATELY, LISTS = (0, 10, 20, 40), (0.1, 0.3, 0.5)
LEADING, SEEDS = 3, (0, 1, 2)
ORIGINS = 2
SHARE = movies.project.evaluation.judge


def origins(rows: Rows) -> list[Origin]:
    """Return what may be chosen by, the latest origin first; no row of anybody's last fifth is among it."""
    found, known = [], take(rows, ~newest_of_each(movies.project.schema, rows, SHARE))
    for _ in range(ORIGINS):
        judge = newest_of_each(movies.project.schema, known, SHARE)
        found.append((take(known, ~judge), take(known, judge)))
        known = found[-1][0]
    return found


def rmse(answers: np.ndarray, asked: Rows) -> float:
    """Return the error of answers (N, 1), in stars."""
    return float(np.sqrt(np.mean((answers[:, 0] - asked["rating"]) ** 2)))


def moved_line(train: Rows, asked: Rows) -> list[float]:
    """Return the bias model's errors, its users moved by as much of `LATELY` as the network's are."""
    encoder, found = Encoder.fit(movies.project.schema, None, train), []
    for most in LATELY:
        last = newest(encoder, train, max(most, 1))
        assert isinstance(last, dict)
        said = learned_answers(("linear",), encoder, train, concatenate([last, asked]), seed=0)["linear"].values[:, 0]
        users, which = np.unique(last["user"].astype(str), return_inverse=True)
        left = np.bincount(which, last["rating"] - said[: length(last)])
        by = left / (np.bincount(which) + most) if most else np.zeros(len(users))
        answers = said[length(last) :] + by[np.searchsorted(users, asked["user"].astype(str))]
        found.append(rmse(answers[:, None], asked))
    return found


def learned(setting: Setting, seed: int, train: Rows) -> list[Predictor]:
    """Train once, and return what answers with each of `LATELY`."""
    model = setting.model()
    encoder, found = Encoder.fit(movies.project.schema, None, train, model), []
    with tempfile.TemporaryDirectory() as folder:
        given, work = setting.training(seed), Path(folder)
        trained = fit(model, given, encoder, train, workdir=work, progress=lambda _: None, threads=1)
    for most in LATELY:
        network = copy.deepcopy(trained.network)
        [factors] = [one for one in network.modules() if isinstance(one, Factors)]
        if most:
            move(network, factors, encoder, train, most)
        found.append(Predictor(encoder, Inside(network, encoder.spec)))
    return found


class Tried(NamedTuple):
    """What a setting came to: errors for each of `LATELY`, mean over origins, and what its lists are worth."""

    errors: np.ndarray
    recall: float
    popular: float
    low: float  # of how much better that is than the most popular items

    @property
    def best(self) -> float:
        """The smallest error; none where lists are not shown to be worth more than the most popular items."""
        return float(self.errors.min()) if self.low > 0 else float("inf")


def tried(setting: Setting, seeds: Sequence[int], among: list[Origin]) -> Tried:
    """Train from each origin and seed."""
    each, lists = [], []
    for train, judge in among:
        asked = {name: values for name, values in judge.items() if name != "rating"}
        for seed in seeds:
            found = learned(setting, seed, train)
            each.append([rmse(one.predict(asked).values, judge) for one in found])
            if train is among[0][0]:
                lists.append(listed(found[0], train, judge))  # `lately` changes no list
    return Tried(np.asarray(np.mean(each, axis=0)), *np.mean(lists, axis=0).tolist())


def listed(predictor: Predictor, train: Rows, judge: Rows) -> tuple[float, float, float]:
    """Return the recall@10 of lists and of the most popular items, and the lower bound of their difference."""
    liked, rated = Asked.of(predictor.encoder, judge), Rated.of(predictor.encoder, train)
    ours = liked.by_network(predictor, rated)[RECALL]
    popular = liked.by_popularity(predictor.encoder, train, rated)[RECALL]
    return value(RECALL, ours), value(RECALL, popular), apart(RECALL, ours, popular, liked.users).low


def line(name: object, errors: np.ndarray, found: Tried | None = None) -> None:
    """Print errors, one for each of `LATELY`, and what lists are worth."""
    said = f"  {found.recall:9.4f} ({found.recall - found.popular:+.4f}, at least {found.low:+.4f})" if found else ""
    print(f"{name!s:37}  {'  '.join(f'{one:9.4f}' for one in errors)}{said}", flush=True)


def choose(among: list[Origin]) -> tuple[Setting, int]:
    """Try every setting, the leading ones with more seeds; return the best one and its `lately`."""
    heads = "  ".join(f"lately {most:2}" for most in LATELY)
    print(f"{'network':14}  width  dropout  decay  {heads}  recall@10 (over popularity)")
    line("bias model", np.mean([moved_line(*origin) for origin in among], axis=0))
    known = {}
    for setting in GRID:
        known[setting] = tried(setting, SEEDS[:1], among)
        line(setting, known[setting].errors, known[setting])
    leading = sorted(known, key=lambda one: known[one].best)[:LEADING]
    print(f"\nthe leading {LEADING}, mean of {len(SEEDS)} seeds")
    for setting in leading:
        known[setting] = tried(setting, SEEDS, among)
        line(setting, known[setting].errors, known[setting])
    best = min(leading, key=lambda one: known[one].best)
    return best, LATELY[int(known[best].errors.argmin())]


def with_lists(best: Setting, among: list[Origin]) -> Setting:
    """Return the setting with the `list_dropout` of the best lists."""
    print("\nlist_dropout")
    found = {}
    for lists in LISTS:
        made = best._replace(lists=lists)
        found[made] = tried(made, SEEDS, among[:1])
        line(lists, found[made].errors, found[made])
    return max(found, key=lambda one: found[one].recall)


def asked_once(project: Project, rows: Rows) -> None:
    """Print what the chosen setting comes to on each person's last fifth."""
    [fold] = deal("last-of-each", project, rows, project.training.seed)
    answered = once(project, rows, fold, project.training.seed, 1)
    found = facts(Evaluated(project, "last-of-each", rows, "", 1, [answered], 0.0))["metrics"]
    for metric in ("rmse", RECALL):
        beside = {name: one for name, one in found[metric].items() if isinstance(one, dict)}
        said = "; ".join(f"{name} {one['value']:.4f}, {gained(one, metric)}" for name, one in beside.items())
        print(f"{metric} {bounded(found[metric])}; {said}")
    moved = moved_line(take(rows, fold.train), take(rows, fold.test))
    print("; ".join(f"bias model moved by {most} {one:.4f}" for most, one in zip(LATELY, moved, strict=True)))


def main() -> int:
    """Choose, and ask once."""
    started = time.process_time()
    rows = good_rows(movies.project, movies.project.source)
    among = origins(rows)
    best, lately = choose(among)
    best = with_lists(best, among)
    print(f"\nchosen: {best}  list_dropout {best.lists}  lately {lately}; {time.process_time() - started:.0f} s of CPU")
    asked_once(replace(movies.project, model=best.model(lately), training=best.training()), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
