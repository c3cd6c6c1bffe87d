"""Holds what several commands share: options, arguments, progress, streams."""
