"""Columns that a project computes from a row's others, and the identity of the code that does. Needs numpy only."""

import hashlib
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import orjson

from data.errors import BadDeclaration
from data.schema import Rows, Schema, length
from models.declarations import Features

MODULE = ("__name__", "__file__", "__package__")  # where a module stands, which a class inside a function names


def with_derived(schema: Schema, features: Features | None, rows: Rows) -> Rows:
    """Return the feature columns of `rows` and those that `features` computes from them.

    Raises: BadDeclaration when the project's function returns other columns or another number of rows.
    """
    given = {name: rows[name] for name in schema.features}
    if features is None:
        return given
    computed = features.compute(dict(given))
    for name in features.columns:
        if name not in computed:
            raise BadDeclaration(f"features.compute returns no column {name!r}")
        if np.shape(computed[name])[:1] != (length(given),):
            raise BadDeclaration(f"features.compute returns {name!r} with another number of rows than it was given")
    return {**given, **{name: np.asarray(computed[name]) for name in features.columns}}


def features_sha256(features: Features) -> str:
    """Hash what decides the derived columns: their declaration, and the code that computes them."""
    columns = {name: repr(column) for name, column in features.columns.items()}
    code = code_sha256(features.compute)
    return hashlib.sha256(orjson.dumps([columns, code], option=orjson.OPT_SORT_KEYS)).hexdigest()


def code_sha256(function: Callable[..., Any]) -> str:
    """Hash a function's source with that of the functions, classes and constants of its own module that it uses.

    Other edits to the file leave the hash as it is; libraries count by their name only.
    """
    parts = sorted(set(sources(function, set())))
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def sources(function: Callable[..., Any], seen: set[str]) -> Iterator[str]:
    """Yield a piece of text for the function and for each thing of its module that it names, reached once."""
    plain = inspect.unwrap(function)
    try:
        yield inspect.getsource(plain)
    except (OSError, TypeError):  # no source, as for a built-in, a partial or a callable object
        yield repr(type(plain)) + getattr(plain, "__qualname__", "")
    if not isinstance(plain, FunctionType):
        return
    for name in sorted(names_used(plain.__code__) & plain.__globals__.keys() - seen):
        if name in MODULE:
            continue
        seen.add(name)
        used = plain.__globals__[name]
        if isinstance(used, FunctionType) and used.__module__ == plain.__module__:
            yield from sources(used, seen)
        elif inspect.isclass(used) and used.__module__ == plain.__module__:
            yield inspect.getsource(used)
        elif isinstance(used, bool | int | float | str | bytes | tuple | frozenset | None):
            yield f"{name} = {used!r}"


def names_used(code: CodeType) -> set[str]:
    """Return the global names that a function and the functions inside it use."""
    inner = (names_used(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)
