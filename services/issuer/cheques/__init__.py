"""Cheques."""
