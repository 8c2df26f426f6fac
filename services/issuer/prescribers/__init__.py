"""Prescribers: who may grant cheques, imported from files of the national schema."""
