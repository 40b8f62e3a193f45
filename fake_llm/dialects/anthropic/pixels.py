"""What an image says of itself in its first bytes: its type, its width and height."""

from __future__ import annotations

_MARKS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
}


def image_type(content: bytes) -> str | None:
    """The media type, or None for no image."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((name for name, mark in _MARKS.items() if content.startswith(mark)), None)


def size_of(content: bytes, media_type: str) -> tuple[int, int] | None:
    """Width and height, or None where they cannot be read."""
    if media_type == "image/png":
        return (_big(content, 16, 4), _big(content, 20, 4)) if len(content) >= 24 else None
    if media_type == "image/gif":
        return (_little(content, 6, 2), _little(content, 8, 2)) if len(content) >= 10 else None
    return _jpeg(content) if media_type == "image/jpeg" else _webp(content)


def _jpeg(content: bytes) -> tuple[int, int] | None:
    """The size in the frame header: any of the segments C0 to CF but three that are none."""
    at = 2
    while at + 9 < len(content) and content[at] == 0xFF:
        mark = content[at + 1]
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            return _big(content, at + 7, 2), _big(content, at + 5, 2)
        at += 2 + _big(content, at + 2, 2)
    return None


def _webp(content: bytes) -> tuple[int, int] | None:
    if len(content) < 30:
        return None
    kind = content[12:16]
    if kind == b"VP8X":
        return _little(content, 24, 3) + 1, _little(content, 27, 3) + 1
    if kind == b"VP8L":
        bits = _little(content, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return _little(content, 26, 2) & 0x3FFF, _little(content, 28, 2) & 0x3FFF


def _big(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "big")


def _little(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "little")
