"""What a training ran on: all that can change the last bits of its weights, beside rows, code and seed.

The same weights follow from the same rows, code and seed only where sums are taken in the same order, which the
instructions that torch chooses, the number of threads and the device decide.
"""

import hashlib
import os
import platform
import re
from pathlib import Path

import torch

VECTOR = re.compile(r"(3dnow|abm|amx|asimd|avx|bf16|bmi|f16c|fma|gfni|i8mm|mmx|neon|popcnt|sse|ssse|sve|vnni)")
TUNING = re.compile(
    r"(ATEN_CPU_CAPABILITY|CUBLAS_WORKSPACE_CONFIG|NVIDIA_TF32_OVERRIDE"
    r"|(DNNL|KMP|MKL|OMP|ONEDNN|OPENBLAS)_(?!WAIT_POLICY)\w+)"  # how threads wait changes no sum
)
DETERMINISTIC = "deterministic algorithms, cuDNN benchmark off"  # what models.training.reproducible sets


def facts(device: torch.device, threads: int, devices: int = 1) -> dict[str, str]:
    """Describe this machine as the training that has just ended on it used it."""
    return {
        "device": device_name(device, devices),
        "threads": str(threads),
        "torch": str(torch.__version__),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cpu": processor(),
        "cpu_flags": hashlib.sha256(" ".join(vector_flags()).encode()).hexdigest()[:16],
        "deterministic": DETERMINISTIC,
        "tuning": " ".join(f"{name}={os.environ[name]}" for name in sorted(os.environ) if TUNING.fullmatch(name)),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def device_name(device: torch.device, devices: int) -> str:
    """Name a device by its make; several are only counted, since asking would start CUDA in a parent of forks."""
    if device.type != "cuda":
        return device.type if devices == 1 else f"{device.type} x {devices}"
    if devices > 1:
        return f"cuda x {devices}, CUDA {torch.version.cuda}"
    return f"cuda, {torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"


def processor() -> str:
    """Name the CPU's make, by which mathematical libraries choose their paths too."""
    fields = cpuinfo()
    known = [fields[name] for name in ("vendor_id", "model name", "cpu family", "model", "CPU part") if name in fields]
    return " ".join(known) or platform.processor() or platform.machine()


def vector_flags() -> list[str]:
    """Return the CPU's features that libraries dispatch on, sorted; none where the system doesn't list them."""
    fields = cpuinfo()
    flags = fields.get("flags", fields.get("Features", "")).split()
    return sorted({flag for flag in flags if VECTOR.match(flag)})


def cpuinfo() -> dict[str, str]:
    """Read what Linux says of the first CPU."""
    try:
        first = Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n", 1)[0]
    except OSError:
        return {}
    split = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in split}
