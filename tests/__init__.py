"""The tests. A package, so that they and the benchmarks share `tests.harness`."""
