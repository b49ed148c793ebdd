"""Talking to PostgreSQL: pooled connections, and transactions that cost no round trip of their own."""
