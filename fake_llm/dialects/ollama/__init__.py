"""Ollama's own API: ``/api/chat`` (:mod:`.chat`), ``/api/generate`` (:mod:`.generate`) and embeddings.

Each is a dialect of its own; the models' management is in :mod:`fake_llm.ollama_models`.
"""
