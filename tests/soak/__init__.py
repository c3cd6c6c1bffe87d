"""Long trials with real suites; no part of the tests. `make soak` runs them all."""
