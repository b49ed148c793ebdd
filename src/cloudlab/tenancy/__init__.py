"""Tenants, the shards they live on, and how they are placed there."""
