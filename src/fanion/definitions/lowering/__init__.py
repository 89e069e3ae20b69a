"""What every source lowers with: the builder of an environment, conditions, flags."""
