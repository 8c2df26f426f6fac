"""Embedded servers and all processes of Souche on one machine."""
