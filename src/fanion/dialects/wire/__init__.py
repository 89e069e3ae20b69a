"""What every public API of ours is made from: endpoints, faults, replies, bodies, and what a worker offers them."""
