"""Frozen, keyword-only declarations whose wrong keys are errors that name the nearest right one."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform

from data.errors import BadDeclaration, nearest

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def declared(cls: type[T]) -> type[T]:
    """Make `cls` a frozen keyword-only dataclass that explains a wrong or a missing key.

    Raises (on construction): BadDeclaration.
    """
    made = dataclass(frozen=True, kw_only=True)(cls)
    plain: Callable[..., None] = made.__init__
    known = {field.name for field in fields(made)}  # type: ignore[arg-type]

    @functools.wraps(plain)
    def __init__(self: object, *args: Any, **keys: Any) -> None:
        if args:
            raise BadDeclaration(f"{cls.__name__} takes named arguments only: {', '.join(sorted(known))}")
        for key in keys:
            if key not in known:
                raise BadDeclaration(f"{cls.__name__} has no {key!r}; {nearest(key, known)}")
        try:
            plain(self, **keys)
        except TypeError as error:
            raise BadDeclaration(str(error).replace("__init__()", "")) from error

    made.__init__ = __init__  # type: ignore[method-assign]
    return made
