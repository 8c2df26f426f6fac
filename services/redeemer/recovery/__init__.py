"""Redemptions that were lost with this database and that the other services remember."""
