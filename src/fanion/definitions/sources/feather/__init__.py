"""Feather bundles: flag key to flag configuration."""
