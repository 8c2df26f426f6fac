"""Adapter_kit."""
