"""A simulator of meters: true power curves, sensors with their faults, and files that show them.

It serves tests of the energy probes, and whoever writes one: the real source reads a tree that the
simulator keeps up to date under an injected clock.
"""
