"""How fast it is, on this machine."""
