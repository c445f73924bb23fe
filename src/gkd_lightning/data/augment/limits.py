"""What both augmentations refuse before anything is drawn."""

from __future__ import annotations

from gkd_lightning.errors import UserError


def require(section: str, config: object, size: int, *shares: str) -> None:
    """Refuse shares and probabilities outside 0 to 1, and a side of the square crops below one pixel.

    Args:
        section: key of the settings, for the message.
        config: the settings.
        size: side of the crops.
        shares: names of attributes of `config`.
    """
    for name in shares:
        value = getattr(config, name)
        if not 0 <= value <= 1:
            raise UserError(f"{section}.{name}: {value} must lie between 0 and 1")
    if size < 1:
        raise UserError(f"image_size: {size}; give the side of the crops in pixels")
