"""Workload definitions, shipped as package data."""
