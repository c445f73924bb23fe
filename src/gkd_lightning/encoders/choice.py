"""Which of the models in a weights file is meant, and the prefix under which its tensors lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from gkd_lightning.encoders.files import State, floats
from gkd_lightning.encoders.layouts import shared, translated
from gkd_lightning.encoders.spelling import LoadReport
from gkd_lightning.errors import UserError, nearest

_PREFERRED = ("model", "state_dict", "module", "teacher", "student", "model_ema")
"""Keys under which training scripts keep a model's tensors, the preferred one first (DINO judges its teacher)."""

_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Words that parallel, compiled and recomputed modules add to the keys of what they wrap."""


class _Candidate(NamedTuple):
    place: str
    """Dotted path in the file."""
    names: dict[str, tuple[str, str]]
    """By the file's key: the same without wrappers and prefix, and its translation."""
    state: State
    """The mapping that the keys lie in, and all that lies beside them."""
    rank: tuple[list[int], bool, int]


def chosen(
    models: Mapping[str, State], own: Collection[str], wanted: str | None, where: str, report: LoadReport
) -> State:
    """The tensors of one of a file's models as float32, without the prefix of its keys, in a layout that is known.

    Where several could be meant, `_PREFERRED` decides between mappings, and inside one ``student`` comes before others
    (the authors' GKD checkpoints), the first before the second.

    Args:
        models: the file's state dicts, by their dotted path in it.
        own: the keys of the model that is to be loaded.
        wanted: `EncoderSpec.weights_key`.
        where: the file, for messages.
        report: receives what was chosen, renamed and left out.

    Raises:
        UserError: nothing lies under `wanted`, or values are not finite.
    """
    skipped = _WRAPPERS - {word for key in own for word in key.split(".")}
    found = _candidates(models, own, skipped)
    if wanted is not None:
        before, models = models, _under(models, wanted, skipped)
        if not models:
            places = [place for place in [each.place for each in found] or before if place]
            places = places or ["one model at its top: leave weights_key out"]
            raise UserError(f"weights_key: {wanted} is not in {where}{nearest(wanted, places)} ({', '.join(places)})")
        found = _candidates(models, own, skipped)
    if found:
        place, names, state, _ = found[0]
    else:  # nothing that is known: left to strict loading, which tells what it looks like
        place, state = min(models.items(), key=lambda each: (_rank(each[0]), -len(each[1])))
        names = {key: (_plain(key, skipped),) * 2 for key in state}
    report.chosen, report.beside = place, [each.place for each in found[1:]]
    report.renamed |= {old: new for old, new in names.values() if old != new}
    outside = Counter(_plain(key, skipped).split(".")[0] for key in state if key not in names)
    report.ignored += [f"{name}.* ({count} tensors)" for name, count in sorted(outside.items())]
    tensors = floats({key: state[key] for key in names}, where)
    return {new: tensors[key] for key, (_, new) in names.items()}


def _candidates(models: Mapping[str, State], own: Collection[str], skipped: Collection[str]) -> list[_Candidate]:
    """Parts of a file that have enough of the model's own keys, the preferred one first; none lies in another."""
    found = []
    for path, state in models.items():
        plain = {key: _plain(key, skipped) for key in state}
        parts = []
        counts = Counter(prefix for name in plain.values() for prefix in _prefixes(name))
        for number, (prefix, count) in enumerate(counts.items()):
            if count < 0.1 * len(own):
                continue  # as a block of one of them, of which there are many
            inside = {key: name.removeprefix(prefix) for key, name in plain.items() if name.startswith(prefix)}
            new = translated(inside.values(), own)
            place = ".".join(part for part in (path, prefix[:-1]) if part)
            rank = (_rank(path), "student" not in prefix.split("."), number)
            part = _Candidate(place, {key: (name, new[name]) for key, name in inside.items()}, state, rank)
            if score := shared(new.values(), own):
                parts.append((score, prefix, part))
        taken: list[str] = []
        for _, prefix, part in sorted(parts, key=lambda each: -each[0]):
            if not any(prefix.startswith(other) or other.startswith(prefix) for other in taken):
                taken.append(prefix)
                found.append(part)
    return sorted(found, key=lambda each: each.rank)


def _under(models: Mapping[str, State], wanted: str, skipped: Collection[str]) -> dict[str, State]:
    """What lies at or below a dotted path, which may be written with wrappers or without."""
    beginnings = tuple({f"{wanted}.", f"{_plain(wanted, skipped)}."} - {"."})
    found = {}
    for path, state in models.items():
        inside = {}
        for key, value in state.items():
            whole = f"{path}.{key}" if path else key
            if whole.startswith(beginnings) or _plain(whole, skipped).startswith(beginnings):
                inside[key] = value
        if inside:
            found[path] = inside
    return found


def _plain(key: str, skipped: Collection[str]) -> str:
    return ".".join(word for word in key.split(".") if word not in skipped)


def _prefixes(name: str) -> Iterator[str]:
    yield ""
    yield from (name[: place + 1] for place, letter in enumerate(name) if letter == ".")


def _rank(path: str) -> list[int]:
    words = path.split(".")
    return [_PREFERRED.index(word) if word in _PREFERRED else len(_PREFERRED) for word in words]
