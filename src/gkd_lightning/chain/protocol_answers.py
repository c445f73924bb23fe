"""Half of a check went into asking whether data sets have a protocol's methods, the same classes again and again."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from jsonargparse import _typehints


def remember_protocols() -> None:
    """Let jsonargparse compare a class's signatures with a protocol's once in a process; neither changes.

    The function is a private one: where a version of jsonargparse has none of this name, nothing is remembered.
    """
    compare = getattr(_typehints, "implements_protocol", None)
    if compare is None or hasattr(compare, "remembered"):
        return
    remembered: Any = functools.cache(compare)

    @functools.wraps(compare)
    def implements_protocol(value: Any, protocol: Any) -> bool:
        return bool(remembered(value, protocol) if inspect.isclass(value) else compare(value, protocol))

    vars(implements_protocol)["remembered"] = remembered
    _typehints.implements_protocol = implements_protocol
