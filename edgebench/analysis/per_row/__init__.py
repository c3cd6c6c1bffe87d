"""Turns one record into one row, and checks whether the row's numbers can be true."""
