"""Our trainer beside the plain PyTorch loop and Lightning, on the classic network for MNIST's digits, in one run.

    python bench/training.py [--rows 6000] [--epochs 4] [--batch 32] [--threads 1] [--device cpu]

Each variant is a process of its own; they take turns, an epoch each, so that a busy machine is busy for all. Every
epoch learns the same number of rows and judges the same held-back ones; ours also writes its checkpoint. The ratio is
the median over the turns of the plain loop's seconds by the variant's, of the wall and of the CPU. Beside it stands
the accuracy on MNIST's official test. Ours runs with the variables that `holdfast up` sets, the others with none of
them; `ours, as they` without those too. The first epoch of each warms up and doesn't count.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from data import catalogue
from data.environment import QUIET
from data.schema import Category, Image, Rows, Schema

VALIDATION = 0.05
SCHEMA = Schema(
    columns={"image": Image(height=28, width=28), "digit": Category(levels=tuple("0123456789"))},
    target="digit",
    key="key",
)
LIGHTNING = "lightning's Trainer"
PLAIN, OURS, AS_THEY, HALF = "plain loop", "ours", "ours, as they", "ours, bf16"
TUNING = [name for name in QUIET if name.startswith(("MALLOC_", "OMP_"))]
Options = argparse.Namespace
Wait = Callable[[], None]
Correct = Callable[[], float]


def rows_of(split: str, count: int) -> Rows:
    """Return the first rows of a split of MNIST."""
    frame = catalogue.load("mnist")
    some = frame[frame["split"] == split].head(count)
    images = np.frombuffer(b"".join(some["image"]), np.uint8).reshape(-1, 28, 28)
    return {"key": some["key"].to_numpy(), "image": images, "digit": some["digit"].to_numpy()}


def ours(options: Options, precision: str, wait: Wait) -> Correct:
    """Train by our trainer; it tells of each epoch, and waits there for its next turn."""
    import torch

    from models.declarations import Model, Training
    from models.encoding import Encoder
    from models.training import fit

    rows = rows_of("train", options.rows)
    encoder = Encoder.fit(SCHEMA, None, rows)
    training = Training(
        epochs=options.epochs + 1,
        patience=options.epochs + 1,
        batch_size=options.batch,
        learning_rate=1e-3,
        validation=VALIDATION,
        precision=precision,  # type: ignore[arg-type]
        device=options.device,
    )
    model = Model(network="classic_cnn")
    with tempfile.TemporaryDirectory() as folder:
        given = {"workdir": Path(folder), "threads": options.threads}
        trained = fit(model, training, encoder, rows, progress=lambda _: wait(), **given)  # type: ignore[arg-type]

    def correct() -> float:
        test = rows_of("test", 10_000)
        images = torch.from_numpy(encoder.encode(test)["image"])
        with torch.inference_mode():
            answers = torch.cat([trained.network(part).argmax(1) for part in images.split(500)])
        return float((answers.numpy() == encoder.target(test)).mean())

    return correct


def tensors(split: str, count: int) -> tuple[object, object]:
    """Return pictures (N, 1, 28, 28) float32 and classes (N,), as everybody has them."""
    import torch

    rows = rows_of(split, count)
    images = torch.from_numpy(rows["image"].astype(np.float32) / 255)[:, None]
    return images, torch.from_numpy(rows["digit"].astype(np.int64))


def textbook() -> object:
    """Return the classic network as the textbooks write it."""
    from torch import nn

    first = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(1600, 64), nn.ReLU(), nn.Linear(64, 10))


def loaders(options: Options) -> list:
    """Return torch's loaders of the rows that train and of those that judge."""
    from torch.utils.data import DataLoader, TensorDataset, random_split

    every = TensorDataset(*tensors("train", options.rows))  # type: ignore[arg-type]
    train, judge = random_split(every, [1 - VALIDATION, VALIDATION])
    return [DataLoader(train, batch_size=options.batch, shuffle=True), DataLoader(judge, batch_size=1024)]


def plain(options: Options, wait: Wait) -> Correct:
    """Train by the loop that PyTorch's tutorials show."""
    import torch
    from torch.nn.functional import cross_entropy

    network = textbook().to(options.device)
    learning, judging = loaders(options)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(options.epochs + 1):
        network.train()
        for images, target in learning:
            optimizer.zero_grad()
            loss = cross_entropy(network(images.to(options.device)), target.to(options.device))
            loss.backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for images, target in judging:
                cross_entropy(network(images.to(options.device)), target.to(options.device)).item()
        wait()
    return tested(network.cpu())


def lightning(options: Options, wait: Wait) -> Correct:
    """Train by Lightning's Trainer, its logging and bars off."""
    import lightning
    import torch
    from torch.nn.functional import cross_entropy

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = textbook()

        def training_step(self, batch: tuple, _: int) -> torch.Tensor:
            return cross_entropy(self.network(batch[0]), batch[1])

        def validation_step(self, batch: tuple, _: int) -> torch.Tensor:
            return cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    class Turns(lightning.Callback):
        def on_train_epoch_end(self, *_: object) -> None:
            wait()

    off = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    module, kind = Module(), "gpu" if options.device == "cuda" else "cpu"
    trainer = lightning.Trainer(max_epochs=options.epochs + 1, accelerator=kind, callbacks=[Turns()], **off)
    trainer.fit(module, *loaders(options))
    return tested(module.network.cpu())


def fabric(options: Options, wait: Wait) -> Correct:
    """Train by Lightning's Fabric around the plain loop."""
    import torch
    from lightning_fabric import Fabric
    from torch.nn.functional import cross_entropy

    made = Fabric(accelerator=options.device, devices=1)
    plain_network = textbook()
    network, optimizer = made.setup(plain_network, torch.optim.Adam(plain_network.parameters(), lr=1e-3))
    learning, judging = made.setup_dataloaders(*loaders(options))
    for _ in range(options.epochs + 1):
        network.train()
        for images, target in learning:
            optimizer.zero_grad()
            made.backward(cross_entropy(network(images), target))
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for images, target in judging:
                cross_entropy(network(images), target).item()
        wait()
    return tested(plain_network.cpu())


def tested(network: object) -> Correct:
    """Return what tells a network's accuracy on the official test."""
    import torch

    def correct() -> float:
        images, target = tensors("test", 10_000)
        with torch.inference_mode():
            answers = torch.cat([network.eval()(part).argmax(1) for part in images.split(500)])
        return float((answers == target).float().mean())

    return correct


VARIANTS: dict[str, Callable[[Options, Wait], Correct]] = {
    PLAIN: plain,
    "lightning's Fabric": fabric,
    LIGHTNING: lightning,
    AS_THEY: lambda options, wait: ours(options, "32-true", wait),
    OURS: lambda options, wait: ours(options, "32-true", wait),
    HALF: lambda options, wait: ours(options, "bf16-mixed", wait),
}


def work(options: Options) -> None:
    """Run one variant: an epoch for each line that comes in, and at the end its accuracy."""
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    def turns() -> Iterator[None]:
        sys.stdin.readline()
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            yield
            if options.device == "cuda":
                torch.cuda.synchronize()
            print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
            sys.stdin.readline()

    turn = turns()
    next(turn)
    correct = VARIANTS[options.work](options, lambda: next(turn))
    print(correct(), flush=True)


class Runner:
    """A variant in a process of its own."""

    def __init__(self, name: str, options: Options) -> None:
        self.seconds: list[tuple[float, float]] = []
        environment = {key: value for key, value in os.environ.items() if key not in TUNING}
        if name in (OURS, HALF):
            environment |= {key: QUIET[key] for key in TUNING}
        words = [f"--{key}={value}" for key, value in vars(options).items() if key != "work"]
        command = [sys.executable, __file__, *words, f"--work={name}"]
        environment["PYTHONPATH"] = str(Path(__file__).parents[1])
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self) -> list[float]:
        """Give it a turn and return what it says."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return [float(word) for word in self.process.stdout.readline().split()]

    def turn(self, counts: bool) -> None:
        """Run an epoch."""
        wall, cpu = self.ask()
        if counts:
            self.seconds.append((wall, cpu))


def told(name: str, runner: Runner, base: Runner) -> str:
    """Return a line on a variant: seconds an epoch, ratios, accuracy."""
    wall, cpu = (statistics.median(part) for part in zip(*runner.seconds, strict=True))
    pairs = list(zip(base.seconds, runner.seconds, strict=True))
    ratios = [statistics.median(one[at] / other[at] for one, other in pairs) for at in (0, 1)]
    (correct,) = runner.ask()
    return f"{name:22s} {wall:8.2f} s {cpu:8.2f} s {ratios[0]:8.2f} {ratios[1]:8.2f} {correct:10.4f}"


def native_half() -> bool:
    """Tell whether this CPU multiplies bf16 by itself."""
    known = Path("/proc/cpuinfo")
    return known.exists() and any(word in known.read_text() for word in ("avx512_bf16", "amx_bf16"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--epochs", type=int, default=4, help="that count; one more warms up")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", choices=tuple(VARIANTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options)
    names = list(VARIANTS)
    if importlib.util.find_spec("lightning") is None:
        print(f"{LIGHTNING} is not installed: left out (its Fabric is there)")
        names.remove(LIGHTNING)
    if options.device == "cpu" and not native_half():
        print("this CPU has no bf16 of its own: left out")
        names.remove(HALF)
    runners = {name: Runner(name, options) for name in names}
    for turn in range(options.epochs + 1):
        for runner in runners.values():
            runner.turn(counts=turn > 0)
    how = f"batch {options.batch}, {options.threads} threads, {options.device}"
    print(f"{options.rows} rows, {options.epochs} epochs and one before, {how}; load {os.getloadavg()[0]:.1f}")
    print(f"{'':22s} {'wall':>10s} {'CPU':>10s} {'x wall':>8s} {'x CPU':>8s} {'accuracy':>10s}")
    for name, runner in runners.items():
        print(told(name, runner, runners[PLAIN]))
        runner.process.communicate()
    return None


if __name__ == "__main__":
    main()
