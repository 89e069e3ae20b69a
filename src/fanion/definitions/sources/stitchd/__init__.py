"""stitchd flag and segment definitions."""
