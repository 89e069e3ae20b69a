"""What operators see: `metrics` (one catalogue, counted over all workers) and `logs` (one JSON line an event)."""
