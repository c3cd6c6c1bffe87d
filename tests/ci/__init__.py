"""Checks that CI runs beside the tests."""
