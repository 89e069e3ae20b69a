"""Red Pennon features, as a file of their own or within the native format."""
