"""Cleans text and numbers of other programs, and suggests what a mistyped name meant."""
