"""Statistics, fronts and picks over records; imports no runtime."""
