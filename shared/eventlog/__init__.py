"""Eventlog."""
