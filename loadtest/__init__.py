"""Load and crash tests of the real server, on the loopback only; every run is bounded and ends what it started."""
