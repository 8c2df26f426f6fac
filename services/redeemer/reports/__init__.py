"""Balances, and the lists that are exported as files."""
