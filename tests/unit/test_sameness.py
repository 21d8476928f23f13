from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.machine import TUNING, VECTOR
from models.sameness import apart
from tasks.matching import differences, named

ONE = {"layer.2.weight": np.ones((2, 2), np.float32), "layer.10.weight": np.zeros(3, np.float32), "seen": np.array(5)}


def kept(path: Path, **changed: np.ndarray | None) -> Path:
    tensors = {**ONE, **{name.replace("__", "."): values for name, values in changed.items()}}
    save_file({name: values for name, values in tensors.items() if values is not None}, path)
    return path


def test_weights_are_the_same_only_bit_by_bit(tmp_path: Path) -> None:
    one = kept(tmp_path / "one")
    assert apart(one, kept(tmp_path / "same")) is None
    negative = apart(one, kept(tmp_path / "zero", layer__10__weight=np.array([0.0, -0.0, 0.0], np.float32)))
    assert negative is not None
    assert negative.largest == 0


def test_the_first_tensor_is_named_as_people_count_and_the_whole_is_measured(tmp_path: Path) -> None:
    changed = {
        "layer__10__weight": np.array([0, 0, 0.25], np.float32),
        "layer__2__weight": np.array([[1, 1], [1, 0.5]], np.float32),
        "seen": np.array(400),
    }
    found = apart(kept(tmp_path / "one"), kept(tmp_path / "other", **changed))
    assert found is not None
    assert found.first == "tensor layer.2.weight: 25% of its weights differ, by up to 0.5"
    assert found.largest == 0.5  # a counter is no weight
    assert found.relative == pytest.approx(np.sqrt(0.25 + 0.0625) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seen": None}, "tensor seen: not here"),
        ({"more": np.zeros(1, np.float32)}, "tensor more: not on record"),
        ({"layer__10__weight": np.zeros(4, np.float32)}, "layer.10.weight: float32[3] on record, float32[4] here"),
        ({"layer__10__weight": np.zeros(3, np.float64)}, "layer.10.weight: float32[3] on record, float64[3] here"),
    ],
)
def test_weights_of_other_shapes_are_told_apart(tmp_path: Path, changed: dict, said: str) -> None:
    found = apart(kept(tmp_path / "one"), kept(tmp_path / "other", **changed))
    assert found is not None
    assert said in found.first
    assert found.largest == float("inf")


def test_only_what_may_change_the_last_bits_tells_machines_apart() -> None:
    recorded = {"threads": "1", "cpu": "A", "seed": "3", "revision": "abc"}
    assert differences(recorded, {**recorded, "seed": "4", "revision": "def"}) == {}
    found = differences(recorded, {"threads": "2", "cpu": "A"})
    assert found == {"threads": ["1", "2"]}
    assert named(found) == "threads (1 on record, 2 here)"
    flags = ("avx512f", "avx2", "fma", "asimd", "sve2", "hypervisor", "constant_tsc")
    assert [bool(VECTOR.match(name)) for name in flags] == [True] * 5 + [False] * 2
    variables = ("MKL_CBWR", "OMP_NUM_THREADS", "LD_PRELOAD", "XOMP_X", "PATH")
    assert [bool(TUNING.fullmatch(name)) for name in variables] == [True] * 2 + [False] * 3
