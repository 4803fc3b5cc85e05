"""Create an agent from a notebook: `%agent new`, the form and the panel all come here."""

from __future__ import annotations

from dataclasses import fields

from ..config.agents import Agent
from ..team.runtimes import Runtime


def create(runtime: Runtime, agent: Agent | str) -> str:
    """Create an agent's session, or give the existing one the new spec.

    Args:
        runtime: the runtime that owns the session.
        agent: a spec, or the name of an agent that a file describes.

    Returns:
        The outcome in one line, for people.

    Raises:
        WhisperError: nothing was created.
    """
    return runtime.home.do(_create, runtime, agent)


def _create(runtime: Runtime, agent: Agent | str) -> str:
    spec = runtime.described(agent) if isinstance(agent, str) else agent
    config = runtime.resolve(spec)
    runtime.models.open(config)  # fails for an offline model that does not exist, before anything is created
    existing = runtime.get(spec.name)
    before = existing.agent if existing else spec
    session = runtime.create(agent)
    after = session.agent
    changed = [one.name for one in fields(Agent) if getattr(before, one.name) != getattr(after, one.name)]
    outcome = " is ready"
    if changed:
        outcome = f": revision {session.revision} ({', '.join(changed)}), history kept"
    return f"{session.name}{outcome}; answers with {config.model}{_unused_file(runtime, spec.name)}"


def _unused_file(runtime: Runtime, name: str) -> str:
    """Return a clause about the file of that agent that is not in use yet, or an empty text."""
    project = runtime.project
    if project and project.held_back and name in project.found.team and name not in project.used.team:
        return f". {project.found.team[name].file} is held back until %agent trust, and not part of it"
    return ""
