"""Prescribers."""
