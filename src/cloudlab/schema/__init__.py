"""The schema as files, and what brings a database to it."""
