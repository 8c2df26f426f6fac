"""The acts of the demonstration: the year, the death of an operator, the switches."""
