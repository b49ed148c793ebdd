"""The event store, its feed, and the projections that read it."""
