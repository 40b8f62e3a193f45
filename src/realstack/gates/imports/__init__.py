"""What breaks when a code base is imported, and what importing alone does not show."""
