"""Test-time scaling of a decoder: accuracy over tokens and votes, and what they cost."""
