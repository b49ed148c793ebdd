"""The checker: every standard a rule, on anybody's database, migrations and queries."""
