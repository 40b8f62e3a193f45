"""The only place that talks to a language model: ``config`` says which one, ``chat`` speaks to it."""
