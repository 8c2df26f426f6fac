"""Programmes: their terms, the versions of their rules, and the limits for one person."""
