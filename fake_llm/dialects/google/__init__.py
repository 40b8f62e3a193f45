"""What the protocols of Google have in common: how a request's fields are read, and what is signed."""
