"""One package per public API; each exposes one `DIALECT`, and none imports another."""
