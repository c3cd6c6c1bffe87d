"""Latency of cells that were never run on a device, from the few that were and from other devices."""
