"""One folder per definition format; none imports another."""
