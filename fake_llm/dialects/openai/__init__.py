"""What OpenAI's dialects have in common: its refusals, its demands of strict schemas, log probabilities."""
