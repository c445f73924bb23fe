"""What label files hold: ids of classes, raw ids that a known map translates, or colours of a known palette."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data import CLASS_MAPS, PRESETS, read_stored_label
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.recipes.start.pairing import spread

_LOOKS = 100
"""Label files that are read."""
_SHOWN = 12
IGNORED = 255


class Labels(NamedTuple):
    """What a `FolderSegmentation` or `AnnotatedImages` is told of its labels."""

    classes: str | list[str]
    """Names, or a preset."""
    number: int
    """Of the classes."""
    settings: dict[str, object]
    """Further arguments: ``class_map``, ``ignore``, ``unlabelled``."""
    told: str
    """What was found, in words."""


def told_labels(
    files: Sequence[Path],
    classes: Sequence[str] | str | None,
    ignore: int | None = None,
    class_map: str | None = None,
    palette: Mapping[str, str] | None = None,
    ids_from_1: bool = False,
) -> Labels:
    """Find out what labels hold, from files spread evenly over the folder.

    Args:
        files: all label files.
        classes: names in the order of their ids, a preset, or None if nothing is known.
        ignore: the id without truth, if the user says so.
        class_map: a name of `CLASS_MAPS`, if the user says so.
        palette: colour of every class, ``#rrggbb``, if labels are coloured and the user says so.
        ids_from_1: 0 is no class and ignored.

    Raises:
        UserError: ids or colours beyond the classes, or several readings that fit.
    """
    if isinstance(classes, str) and classes not in PRESETS:
        raise UserError(
            f"--classes {classes}: no preset{nearest(classes, PRESETS)}; give names, or one of {', '.join(PRESETS)}"
        )
    if class_map is not None and class_map not in CLASS_MAPS:
        hint = nearest(class_map, CLASS_MAPS)
        raise UserError(f"--class-map {class_map}: no such map{hint} (one of {', '.join(CLASS_MAPS)})")
    if palette is not None and classes is not None:
        raise UserError("--palette: names the classes, so give no --classes")
    stored = [read_stored_label(files[place]) for place in spread(len(files), _LOOKS)]
    kinds = {array.ndim for array in stored}
    if len(kinds) > 1:
        raise UserError(f"{files[0].parent}: some labels hold ids and some colours; give folders of one kind")
    looked = f"{len(stored)} of {len(files)} labels looked at"
    if kinds == {3}:
        return _colours(stored, classes, palette, looked, files[0].parent)
    if palette is not None:
        raise UserError(f"--palette: labels in {files[0].parent} hold ids, no colours")
    ids: Counter[int] = Counter()
    for array in stored:
        found, counts = np.unique(array, return_counts=True)
        ids.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
    if ids_from_1:
        if ignore is not None or class_map is not None:
            raise UserError("--ids-from-1: 0 is ignored then; give no --ignore and no --class-map")
        return _counted_from_1(ids, classes, looked, files[0].parent)
    return _ids(ids, classes, ignore, class_map, looked, files[0].parent)


def _counted_from_1(ids: Counter[int], classes: Sequence[str] | str | None, looked: str, where: Path) -> Labels:
    shifted = Counter({found - 1: count for found, count in ids.items() if found not in (0, IGNORED)})
    found = _ids(shifted, classes, None, None, looked, where)
    mapping = {index + 1: index for index in range(found.number)} | ({IGNORED: IGNORED} if IGNORED in ids else {})
    settings = {"class_map": mapping, "ignore": 0}
    return found._replace(settings=settings, told=f"0 ignored, then ids from 1; less 1: {found.told}")


def _ids(
    ids: Counter[int], classes: Sequence[str] | str | None, ignore: int | None, class_map: str | None,
    looked: str, where: Path,
) -> Labels:  # fmt: skip
    void = IGNORED if ignore is None else ignore
    settings: dict[str, object] = {} if ignore in (None, IGNORED) else {"ignore": ignore}
    present = sorted(found for found in ids if found not in (void, IGNORED))
    shown = f"ids {_listed(present)}" + (f", {void} ignored" if void in ids else "")
    raw = class_map or ("cityscapes-ids" if classes == "cityscapes-19" and present and max(present) > 18 else None)
    if raw is not None:
        preset, mapping = CLASS_MAPS[raw]
        beyond = [found for found in present if found not in mapping]
        if beyond:
            raise UserError(f"{where}: ids {_listed(beyond)} are not in the map {raw}")
        told = f"{shown}: raw ids, by the map {raw} ({looked})"
        return Labels(preset, len(PRESETS[preset].names), {**settings, "class_map": raw}, told)
    if classes is None:
        fits = sorted(
            name
            for name, (_, mapping) in CLASS_MAPS.items()
            if present and max(present) > 18 and set(present) <= set(mapping)
        )
        number = max(present, default=0) + 1
        if fits:
            raise UserError(
                f"{where}: {shown} could be raw ids ({' or '.join(fits)}) or {number} classes of yours; say "
                f"--class-map {fits[0]}, or name the classes by --classes"
            )
        if number > IGNORED or not present:
            raise UserError(f"{where}: {shown or 'nothing but ignored pixels'}; say what they are by --classes")
        names = [f"class_{index}" for index in range(number)]
        return Labels(names, number, settings, f"{shown}: {number} classes without names, see --classes ({looked})")
    names = list(PRESETS[classes].names) if isinstance(classes, str) else list(classes)
    beyond = [found for found in present if not 0 <= found < len(names)]
    if beyond:
        problem = f"{where}: id{'s' * (len(beyond) > 1)} {_listed(beyond)} beyond the {len(names)} classes"
        if beyond == [len(names)]:
            problem += (
                f"; either {beyond[0]} is ignored (--ignore {beyond[0]}), or 0 is a class that the list lacks, such as "
                "background (add its name), or 0 is ignored and ids count from 1 (--ids-from-1)"
            )
        raise UserError(problem if ";" in problem else f"{problem}; give all names, --ignore or --class-map")
    if ignore not in (None, IGNORED) and IGNORED in ids:  # void twice, such as borders beside a class that is left out
        settings["class_map"] = {index: index for index in range(len(names)) if index != ignore} | {IGNORED: IGNORED}
    told = f"{shown}: {len(names)} classes ({looked})"
    return Labels(classes if isinstance(classes, str) else names, len(names), settings, told)


def _colours(
    stored: Sequence[NDArray[np.integer]], classes: Sequence[str] | str | None, given: Mapping[str, str] | None,
    looked: str, where: Path,
) -> Labels:  # fmt: skip
    found: Counter[tuple[int, ...]] = Counter()
    for array in stored:
        colours, counts = np.unique(array.reshape(-1, 3), axis=0, return_counts=True)
        found.update({tuple(colour): int(count) for colour, count in zip(colours.tolist(), counts, strict=True)})
    present = {colour for colour in found if colour != (0, 0, 0)}
    if given is not None:
        palette = {name: [int(colour[at : at + 2], 16) for at in (1, 3, 5)] for name, colour in given.items()}
        beyond = sorted(present - {tuple(colour) for colour in palette.values()})
        if beyond:
            raise UserError(f"{where}: {len(beyond)} colours are not in --palette, first {list(beyond[0])}")
        told = f"{len(present)} colours, all of them given ({looked})"
        return Labels(list(palette), len(palette), {"palette": list(palette.values())}, told)
    candidates = [classes] if isinstance(classes, str) else list(PRESETS)
    fits = [name for name in candidates if present <= set(PRESETS[name].palette)]
    if len(fits) == 1 and (classes is None or isinstance(classes, str)):
        names = PRESETS[fits[0]].names
        return Labels(fits[0], len(names), {}, f"{len(present)} colours, all of the palette {fits[0]} ({looked})")
    frequent = ", ".join(str(list(colour)) for colour, _ in found.most_common(_SHOWN))
    what = f"the palettes {' and '.join(fits)} have them" if len(fits) > 1 else "no known palette has them all"
    raise UserError(
        f"{where}: labels hold {len(found)} colours ({frequent}); {what}; give a preset as --classes, or "
        "the colour of every class as --palette NAME=#rrggbb,…"
    )


def _listed(values: Sequence[int]) -> str:
    if not values:
        return "none"
    if len(values) > 2 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(map(str, values[:_SHOWN])) + more
