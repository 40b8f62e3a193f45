"""A fake LLM server that speaks the providers' real wire protocols.

It is an application of its own: start it with ``python -m fake_llm`` or build its image, and talk to it over
HTTP. Nothing here knows who uses it.
"""

__version__ = "0.1.0"
