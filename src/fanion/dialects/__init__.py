"""One package per public API; `routes.DIALECT` is what the server is handed of it, and none imports another."""
