"""Benches: in process with pytest-benchmark, over HTTP with wrk. Method and results stand in README.md."""
