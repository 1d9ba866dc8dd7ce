"""Tools that tests and benchmarks share: real processes, and an independent receiver."""
