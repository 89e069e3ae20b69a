"""Traffical config bundles and entity weights."""
