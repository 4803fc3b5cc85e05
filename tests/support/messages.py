"""Messages of any kind, for Hypothesis."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from whisper_nb.core.messages import AssistantMessage, Image, Message, SystemMessage, ToolCall, ToolMessage, UserMessage

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def messages(*, repairable: bool = True) -> st.SearchStrategy[Message]:
    """Messages of every kind.

    Args:
        repairable: whether some of them have what OpenAI's format does not hold: `is_error`, reasoning, lone
            surrogates, arguments that are not a JSON object.
    """
    # Without categories, characters include surrogates.
    text = st.text(st.characters(), max_size=20) if repairable else st.text(max_size=20)
    arguments = st.dictionaries(st.text(max_size=5), _JSON, max_size=3).map(
        lambda one: json.dumps(one, ensure_ascii=False)
    )
    images = st.builds(Image, st.sampled_from(("image/png", "image/jpeg")), st.sampled_from(("", "AAAA", "iVBORw0=")))
    reasoning: st.SearchStrategy[dict[str, str] | None] = st.none()
    is_error = st.just(False)
    if repairable:
        arguments |= text
        reasoning |= st.just({}) | st.builds(lambda thought: {"reasoning_content": thought}, text)
        is_error = st.booleans()
    calls = st.lists(st.builds(ToolCall, text, text, arguments), max_size=3).map(tuple)
    return st.one_of(
        st.builds(SystemMessage, text),
        st.builds(UserMessage, text, st.lists(images, max_size=2).map(tuple)),
        st.builds(AssistantMessage, text, calls, reasoning),
        st.builds(ToolMessage, text, text, text, is_error),
    )
