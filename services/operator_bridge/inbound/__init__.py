"""Inbound."""
