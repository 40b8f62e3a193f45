"""Do clients, frameworks and agents take the fake LLM for the real thing? Each in an environment of its own."""
