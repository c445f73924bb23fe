"""What both augmentations refuse before anything is drawn."""

from __future__ import annotations

from gkd_lightning.errors import UserError


def require_size(size: int) -> None:
    """Refuse a side of the square crops below one pixel."""
    if size < 1:
        raise UserError(f"image_size: {size}; give the side of the crops in pixels")


def require_shares(section: str, config: object, *names: str) -> None:
    """Refuse probabilities and shares outside 0 to 1.

    Args:
        section: key of the settings, for the message.
        config: the settings.
        names: those of its attributes that are shares.
    """
    for name in names:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise UserError(f"{section}.{name}: {value} must lie between 0 and 1")
