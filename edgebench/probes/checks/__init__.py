"""Checks of the machine's state, by what may be wrong with it. Nothing here changes a setting."""
