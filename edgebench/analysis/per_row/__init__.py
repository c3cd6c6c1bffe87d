"""From one record to one row, and whether the row can be true."""
