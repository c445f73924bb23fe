"""The `gkd` command; heavy imports wait until a verb needs them."""
