"""Probes: memory, device facts, device state, energy."""
