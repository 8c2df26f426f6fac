"""Limiting."""
