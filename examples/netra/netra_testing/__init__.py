"""Doubles of what stands at the border of Netra's processes, for the unit tests of its services."""
