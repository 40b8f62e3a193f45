"""HTTP: the routes, and which answer each error becomes."""
