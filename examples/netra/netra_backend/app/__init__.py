"""The application: ``main`` puts it together, ``agents`` do the work, ``api`` speaks HTTP."""
