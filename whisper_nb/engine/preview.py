"""Preview: what a submission would send, to the byte, with the origin, the tokens and the price of its parts."""

# Annotations are evaluated: `Preview` names `whisper_nb` as its module, which lacks their names.
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

from msgspec import Struct

from ..config.agents import Agent
from ..config.aiconfig import AIConfig, missing_key, own_address
from ..config.kinds import Price
from ..config.layers import Layer
from ..config.providers import PROVIDERS, Provider, public
from ..core.messages import AssistantMessage, Image, Message, SystemMessage, ToolMessage, Usage, UserMessage
from ..core.text import clip
from ..models.model import HasBody, Model, Request, body_of, transcript_of
from ..models.openai_format import every_parameter
from ..models.pool import transport_of
from ..models.tokens import IMAGE_TOKENS, estimate
from ..models.transcript import Transcript
from ..tools.outputs import OutputType
from .fitting import Counted, Weight
from .journal import Journal
from .ports import Ports, Start
from .projection import RunState
from .prompts import prompt_text
from .requests import Conversation, Requests, Sent
from .runs import Run

Kind = Literal["system", "history", "left out", "prompt", "image", "tool", "output", "parameter"]
Parts = Sequence[str | Image | RunState]
#: Characters of a part's text.
_SUMMARY = 200


class Part(Struct, frozen=True):
    """One part of a request."""

    kind: Kind
    text: str
    """The beginning of it, in one line."""
    source: str
    """Where it comes from: `agents/bob.yaml:7`, `agent bob`, `call`, `history`, a memory."""
    tokens: int = 0
    """Estimated. 0 for what has none: parameters, and what is left out."""


class Preview(Struct, frozen=True, kw_only=True):
    """The request that a submission would send. Nothing was sent."""

    agent: str
    model: str
    address: str
    """Of the server; empty where LiteLLM knows it, and for a model in this process."""
    transport: str
    """`wire`, `litellm`, or `here`: in this process."""
    request: Request
    fingerprint: str
    """SHA-256 of what is sent; see `Request.fingerprint`."""
    body: bytes
    """The JSON that is sent, to the byte; through LiteLLM, the arguments of its call. Without the key."""
    tokens: int
    """All tokens of the request."""
    counted: bool
    """Whether they were counted, as the call itself would; otherwise they are estimated."""
    input_usd: float | None
    """The price of these tokens in US dollars; None if it is unknown."""
    likely_usd: float | None
    """The price with a reply as a budget reserves it: 95 % of this model's replies are no longer. While few are known,
    it has 1,000 tokens. None if the price is unknown."""
    most_usd: float | None
    """The price with the longest reply that `max_tokens` allows; None without a limit, or if it is unknown."""
    sources: Layer
    """The config, with the source of each value."""
    spec: str
    """The source of the agent's spec."""
    asked_by: str
    """The source of the output type: that of the spec, or `call`."""
    left_out: tuple[tuple[str, int], ...] = ()
    """Why messages of the history are not sent, and how many."""
    notes: tuple[str, ...] = ()
    """Lines on facts that may change the call, or make it fail."""

    def __repr__(self) -> str:
        how = "" if self.counted else "about "
        return f"<Preview {self.agent} → {self.model}, {how}{self.tokens:,} tokens, {self.fingerprint[:12]}>"

    @property
    def json(self) -> str:
        """The JSON that is sent, as text."""
        return self.body.decode()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts, in the order in which the model gets them."""
        return tuple(_parts(self))


class _Counts(Struct):
    """A copy of what a session keeps: a preview changes nothing."""

    counted: Counted | None


def request_sent(ports: Ports, agent: Agent[Any], config: AIConfig, history: Transcript, run: Run[Any]) -> Sent:
    """Return the request of a run's last model call; see `Requests.sent`.

    Args:
        ports: of the run's session.
        agent: its spec.
        config: of the run.
        history: of the session.
        run: of the session.
    """
    start = Start(agent, config, run.output_type or agent.output_type)
    requests = Requests(ports, start, _Counts(None), fresh=run.fresh)
    return requests.sent(history, UserMessage(run.prompt, run.images), run.events)


class Glance(Struct, frozen=True):
    """The facts that previews of an agent need, as they are at one moment."""

    ports: Ports
    start: Start
    sources: Layer
    spec: str
    history: Transcript
    counted: Counted | None

    @classmethod
    def of(
        cls,
        ports: Ports,
        journal: Journal,
        agent: Agent[Any],
        configs: tuple[AIConfig, AIConfig],
        output_type: OutputType | None,
    ) -> Self:
        """Take a look, on the event loop's thread.

        Args:
            ports: of the session.
            journal: of the session.
            agent: its spec.
            configs: those that the session sets, and the submission.
            output_type: of the answer; None for the agent's.
        """
        session, call = configs
        explain, source = ports.explain
        return cls(
            ports=ports,
            start=Start(agent, ports.resolve(agent, call, session), output_type or agent.output_type),
            sources=explain(agent, (session, "session"), (call, "call")),
            spec=source(agent),
            history=journal.history,
            counted=journal.counted,
        )

    async def preview(self, parts: Parts, fresh: bool, ahead: int) -> Preview:
        """Return the preview of a submission. On any event loop.

        Args:
            parts: of the prompt, checked.
            fresh: whether the run gets no history.
            ahead: unfinished runs of the agent, whose turns will be history.

        Raises:
            ConfigError: the call could not be made.
            LengthExceeded: its messages do not fit into the model's context, even without the history.
        """
        ports, start = self.ports, self.start
        config = start.config
        requests = Requests(ports, start, _Counts(self.counted), fresh=fresh, only_looks=True)
        await requests.begin()
        model = ports.open_model(config)
        draft = Transcript([_prompt(parts)])
        talk = requests.converse(self.history, draft)
        request = await requests.make(model, talk)
        weight = await requests.weigh(model, request, draft)
        here = not isinstance(model, HasBody)
        address = "" if here else own_address(config, ports.keys)[0] or _default_address(config.provider)
        price = await ports.contexts.price(config, weight.tokens)
        return Preview(
            agent=start.agent.name,
            model=config.model or "",
            address=public(address),
            transport="here" if here else transport_of(config),
            request=request,
            fingerprint=request.fingerprint,
            body=body_of(model, request),
            tokens=weight.tokens,
            counted=weight.exact,
            input_usd=None if price is None else price.of(Usage(weight.tokens)),
            likely_usd=None if price is None else price.of(Usage(weight.tokens, ports.purse.expected_output(config))),
            most_usd=_most(price, Usage(weight.tokens, config.max_tokens or 0)),
            sources=self.sources,
            spec=self.spec,
            asked_by=self.spec if start.output_type is start.agent.output_type else "call",
            left_out=tuple(self._left_out(talk, request, fresh)),
            notes=(*_ahead(start.agent.name, parts, 0 if fresh else ahead), *self._failures(model, weight)),
        )

    def _left_out(self, talk: Conversation, request: Request, fresh: bool) -> Iterator[tuple[str, int]]:
        if talk.left_out:
            yield "a fresh run" if fresh else f"memory {self.start.agent.memory}", talk.left_out
        if trimmed := len(talk.messages) - len(request.messages):
            yield "the model's context", trimmed

    def _failures(self, model: Model, weight: Weight) -> Iterator[str]:
        """Yield why the call would fail, as far as it is known."""
        agent, config = self.start.agent, self.start.config
        if agent.max_prompt_tokens and weight.tokens > agent.max_prompt_tokens:
            yield f"it would fail: {weight.refusal(agent, in_tools=False)}"
        if isinstance(model, HasBody) and (variable := missing_key(config, self.ports.keys)):
            yield f"it would fail: {variable} is not set"


def _ahead(name: str, parts: Parts, ahead: int) -> Iterator[str]:
    """Yield what will be another request, once runs have ended."""
    for part in parts:
        if isinstance(part, RunState) and not part.done:
            yield f"the answer of {part.id} will stand in its place: the request is another one then"
    if ahead:
        runs = f"{ahead} unfinished run{'s' * (ahead > 1)} of {name}"
        yield f"{runs} will be in the history before it: the request is another one then"


def _most(price: Price | None, usage: Usage) -> float | None:
    """Return the price of the longest reply with its prompt; None if either is unknown."""
    if price is None or (price.output and not usage.output_tokens):
        return None
    return price.of(usage)


def _prompt(parts: Parts) -> UserMessage:
    return UserMessage(prompt_text(parts), tuple(part for part in parts if isinstance(part, Image)))


def _default_address(provider: str) -> str:
    return PROVIDERS.get(provider, Provider()).wire or ""


def _parts(preview: Preview) -> Iterator[Part]:
    messages = transcript_of(preview.request.messages)
    request, spec = preview.request, preview.spec
    last = len(messages) - 1
    for number, (message, tokens) in enumerate(zip(messages, messages.estimates, strict=True)):
        if isinstance(message, SystemMessage):
            yield Part("system", clip(message.text, _SUMMARY), spec, tokens)
            yield from (Part("left out", _messages(count), why) for why, count in preview.left_out)
        elif number < last:
            yield Part("history", _summary(message), "history", tokens)
        else:
            images = message.images if isinstance(message, UserMessage) else ()
            yield Part("prompt", clip(message.text, _SUMMARY), "call", tokens - IMAGE_TOKENS * len(images))
            for at, image in enumerate(images, 1):
                yield Part("image", f"⟨image {at}⟩ {image}", "call", IMAGE_TOKENS)
    for tool in request.tools:
        text = f"{tool.name}: {tool.description}"
        yield Part("tool", clip(text, _SUMMARY), spec, estimate(repr(tool).encode(errors="replace")))
    if output := request.output:
        tokens = estimate(repr(output.json_schema).encode(errors="replace"))
        yield Part("output", f"{output.name}, mode {output.mode}", preview.asked_by, tokens)
    config = preview.sources.config
    for name, value in every_parameter(config).items():
        known = name if name in config.values() else "extra"
        yield Part("parameter", clip(f"{name} = {value}", _SUMMARY), preview.sources.place(known))


def _summary(message: Message) -> str:
    match message:
        case AssistantMessage(text, calls) if calls:
            names = ", ".join(call.name for call in calls)
            return clip(f"assistant calls {names} {text}".rstrip(), _SUMMARY)
        case AssistantMessage(text):
            return clip(f"assistant: {text}", _SUMMARY)
        case ToolMessage(_, name, text):
            return clip(f"{name} returned: {text}", _SUMMARY)
        case UserMessage(text, ()):
            return clip(f"user: {text}", _SUMMARY)
        case UserMessage(text, images):
            return f"{clip(f'user: {text}', _SUMMARY)} ({len(images)} {'image' if len(images) == 1 else 'images'})"
        case SystemMessage(text):
            return clip(text, _SUMMARY)


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count:,} messages"
