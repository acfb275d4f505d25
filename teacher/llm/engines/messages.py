"""Parts of a chat message as OpenAI's protocol writes them."""

from __future__ import annotations

import base64
import io
from typing import Any

from teacher.llm.prompt import Picture


def openai_part(part: str | Picture) -> dict[str, Any]:
    """Return a part of a message; a picture becomes a PNG in a data URL."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    file = io.BytesIO()
    part.image.save(file, format="PNG", compress_level=1)
    encoded = base64.b64encode(file.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
