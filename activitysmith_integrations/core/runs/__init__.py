"""What the engine packages share: what a run shows while it goes on, and how its stream ends. Not public."""
