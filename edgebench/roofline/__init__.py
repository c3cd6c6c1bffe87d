"""Ceilings of a device measured, and rows under them."""
