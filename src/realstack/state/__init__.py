"""The known state: migrate and seed once into a template, lend copies of it; the same for Redis."""
