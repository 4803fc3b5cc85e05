"""The limits of one run."""

from __future__ import annotations

from .messages import Data


class RunLimits(Data, frozen=True):
    """The limits of a run, or of each run of an agent. None means no limit; for a run, the limit of its agent."""

    max_turns: int | None = None
    """Model calls."""
    max_total_tokens: int | None = None
    """Tokens of all model calls together, sent and received."""
    max_cost_usd: float | None = None
    """US dollars, of all model calls together."""
    timeout_s: float | None = None
    """Seconds from the start of the run to its end."""

    def over(self, other: RunLimits) -> RunLimits:
        """Return these limits; a limit that is not set is that of `other`."""
        if self is NO_LIMITS:  # most runs
            return other
        return RunLimits(
            self.max_turns or other.max_turns,
            self.max_total_tokens or other.max_total_tokens,
            self.max_cost_usd or other.max_cost_usd,
            self.timeout_s or other.timeout_s,
        )


#: Of a run that has no limits of its own. Shared.
NO_LIMITS = RunLimits()
