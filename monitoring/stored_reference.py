"""A reference as bytes, as the ledger keeps it beside its generation: an npz without pickles."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import Corrupt
from data.schema import Category, column_from_json
from monitoring.binning import binning_from_json
from monitoring.held_out import from_arrays
from monitoring.kept import Kept
from monitoring.projections import Projection
from monitoring.reference import Reference

FORMAT = 1
LATER = ("origin", "window_rows", "rows_a_quarter", "importance")  # not in references written before these were kept


def to_bytes(reference: Reference) -> bytes:
    """Write a reference as npz without pickles; `from_bytes` is the inverse."""
    arrays: dict[str, np.ndarray] = {"codes": reference.codes, "losses": reference.losses, "times": reference.times}
    levels: dict[str, list[Any]] = {}
    for index, name in enumerate(reference.watched):
        arrays[f"counts{index}"] = reference.counts[name]
        values = reference.sample[name]
        if isinstance(reference.columns[name], Category):
            known = {level: code for code, level in enumerate(dict.fromkeys(values.tolist()))}
            levels[name] = list(known)
            values = np.fromiter((known[value] for value in values.tolist()), np.int32, len(values))
        arrays[f"sample{index}"] = values
    if reference.projection is not None:
        arrays |= {"embedding_mean": reference.projection.mean, "embedding_axes": reference.projection.axes}
    if reference.held is not None:
        arrays |= reference.held.to_arrays()
    about = {
        "format": FORMAT,
        "columns": {name: {"type": type(c).__name__, **asdict(c)} for name, c in reference.columns.items()},
        "binnings": {name: binning.to_json() for name, binning in reference.binnings.items()},
        "levels": levels,
        **{key: getattr(reference, key) for key in ("moments", "task", "exchangeable", "rows", "seed", "broken")},
        **{key: getattr(reference, key) for key in LATER},
    }
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


@lru_cache(maxsize=8)
def from_bytes(stored: bytes, calibrations: Path | None = None) -> Reference:
    """Read what `to_bytes` wrote; the same bytes give the same object, with its calibrations.

    `calibrations`: the folder in which these are kept.

    Raises: Corrupt.
    """
    try:
        with np.load(io.BytesIO(stored), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(arrays["about"].tobytes())
        if about["format"] != FORMAT:
            raise Corrupt("reference", f"format {FORMAT}", f"format {about['format']}")
        kept = Kept(calibrations, hashlib.sha256(stored).hexdigest()) if calibrations else None
        return replace(reference_from(about, arrays), kept=kept)
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise Corrupt("reference", "an npz of format 1", f"{type(error).__name__}: {error}") from error


def reference_from(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Reference:
    """Make a reference of what `to_bytes` wrote."""
    columns = {name: column_from_json(stored) for name, stored in about["columns"].items()}
    sample = {}
    for index, name in enumerate(columns):
        values = arrays[f"sample{index}"]
        if name in about["levels"]:
            levels = np.empty(len(about["levels"][name]), dtype=object)
            levels[:] = about["levels"][name]
            values = levels[values] if len(levels) else np.empty(0, dtype=object)
        sample[name] = values
    projection = None
    if "embedding_axes" in arrays:
        projection = Projection(arrays["embedding_mean"], arrays["embedding_axes"])
    return Reference(
        columns=columns,
        projection=projection,
        held=from_arrays(arrays),
        binnings={name: binning_from_json(stored) for name, stored in about["binnings"].items()},
        counts={name: arrays[f"counts{index}"] for index, name in enumerate(columns)},
        moments={name: (mean, spread) for name, (mean, spread) in about["moments"].items()},
        codes=arrays["codes"],
        sample=sample,
        losses=arrays["losses"],
        times=arrays.get("times", np.zeros(0)),
        **{key: about[key] for key in ("task", "exchangeable", "rows", "seed", "broken")},
        **{key: about[key] for key in LATER if key in about},
    )
