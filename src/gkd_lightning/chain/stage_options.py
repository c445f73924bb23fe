"""The words after `gkd fit`: configuration files, and options, of which those that say null become part of a file."""

from __future__ import annotations

from collections.abc import Sequence

_NULL = ("null", "None", "~")
"""As YAML has it and as W&B's agent writes it."""
_SECTIONS = ("model", "data", "trainer")


def config_files(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The configuration files among the arguments, and the other arguments."""
    files, options = [], []
    rest = iter(args)
    for item in rest:
        if item in ("-c", "--config"):
            files += [path for path in [next(rest, None)] if path is not None]
        elif item.startswith("--config="):
            files.append(item.removeprefix("--config="))
        else:
            options.append(item)
    return files, options


def nulls(options: Sequence[str]) -> tuple[list[str], list[str]]:
    """Dotted keys that the options set to null, and the other options.

    jsonargparse hands a null on as the word ``None`` where a section of a class holds another section, and a path of
    weights would be called that. The last option of a key counts, as ever.
    """
    given: list[tuple[str, list[str]]] = []  # key, or nothing where it is no setting, and the words
    cleared: list[str] = []
    rest = list(options)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        words = [word]
        if not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
            words.append(value)
        key = name.removeprefix("--")
        if not name.startswith("--") or "." not in key or key.split(".")[0] not in _SECTIONS:
            key = ""
        cleared = [each for each in cleared if each != key]
        if key and value in _NULL:
            cleared.append(key)
            given = [each for each in given if not f"{each[0]}.".startswith(f"{key}.")]
        else:
            given.append((key, words))
    return cleared, [word for _, words in given for word in words]
