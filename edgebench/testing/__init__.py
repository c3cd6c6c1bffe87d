"""Holds what third parties need to test a backend."""
