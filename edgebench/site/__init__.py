"""A results site: static pages of the newest results, their series, and their reports."""
