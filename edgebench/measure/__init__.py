"""Measuring: launch (parent), worker (child), scenarios, steady state."""
