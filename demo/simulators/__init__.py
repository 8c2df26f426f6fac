"""Simulated operators and a simulated identity provider, each a real server or folder."""
