"""Switching operator: the seven steps, what they move, and the claims on an operator that failed."""
