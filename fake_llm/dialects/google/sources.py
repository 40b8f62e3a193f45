"""What Google's protocols read from the neutral forms of citations and of tools that the server ran."""

from __future__ import annotations

from collections.abc import Sequence

from fake_llm.dialects.wire import to_json
from fake_llm.model import Json, Reply, ServerTool
from fake_llm.tokens import count

SEARCH = "web_search"
FILES = "file_search"
CODE = "code_execution"
PAGES = ("url_context", "web_fetch")


def segment(text: str, words: str) -> tuple[int, int] | None:
    """Where ``words`` are in ``text``, in bytes; None where they are not, as after a cut."""
    at = text.find(words)
    if at < 0:
        return None
    start = len(text[:at].encode("utf-8", "surrogatepass"))
    return start, start + len((words or text).encode("utf-8", "surrogatepass"))


def queries_of(tool: ServerTool) -> Sequence[str]:
    """What a search was asked for."""
    return _listed(tool.input.get("queries") or tool.input.get("query"))


def urls_of(tool: ServerTool) -> Sequence[str]:
    """The pages that were to be read."""
    return _listed(tool.input.get("urls") or tool.input.get("url"))


def code_of(tool: ServerTool) -> str:
    """The code that was run."""
    code = tool.input.get("code")
    return code if isinstance(code, str) else ""


def output_text(output: Json) -> str:
    """What came of a tool, as text."""
    if output is None:
        return ""
    return output if isinstance(output, str) else to_json(output)


def page_status(error: str) -> str:
    """What became of a page that was to be read: ``success``, ``paywall``, ``unsafe`` or ``error``."""
    if not error:
        return "success"
    return error.lower() if error.lower() in ("paywall", "unsafe") else "error"


def search_suggestions(queries: Sequence[str]) -> str:
    """The HTML that a client must show beside what a search found."""
    links = "".join(f'<a class="chip">{_escaped(query)}</a>' for query in queries)
    return f'<div class="container">{links}</div>'


def tool_tokens(reply: Reply) -> int:
    """Tokens of what the tools gave back to the model."""
    return sum(count(output_text(tool.output)) for tool in reply.server_tools)


def _listed(asked: Json) -> Sequence[str]:
    if asked is None:
        return []
    return [str(one) for one in asked] if isinstance(asked, list) else [str(asked)]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
