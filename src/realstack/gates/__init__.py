"""The gates: each checks one thing of a code base, and yields findings. They know nothing of each other."""
