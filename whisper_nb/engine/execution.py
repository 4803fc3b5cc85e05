"""Execution: one run, from its claim to its outcome: the loop of turns around `next_step`, in the run's own task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import assert_never

from ..core.deadlines import Deadline
from ..core.errors import LimitExceeded, RunFailed, TurnLimitExceeded
from ..core.events import Noticed, RunContinued, ToolFinished, ToolStarted
from ..core.messages import ToolCall
from ..core.turns import CallModel, CallTools, Done, next_step
from ..tools.calls import call_tool
from .answers import Answers
from .calls import ModelCalls
from .costs.meter import named
from .journal import Journal
from .ports import Ports, Start
from .runs import Run
from .waits import current_run


class Execution:
    """One run in progress.

    Args:
        journal: of the run's session; publishes what happens.
        ports: the session's collaborators.
        run: claimed, and not done.
        start: the spec and config that the run started with.
    """

    __slots__ = ("_answers", "_calls", "_continuation", "_journal", "_limits", "_ports", "_run", "_tools")

    def __init__(self, journal: Journal, ports: Ports, run: Run, start: Start) -> None:
        self._journal = journal
        self._ports = ports
        self._run = run
        self._limits = run.limits.over(start.agent.limits)
        self._continuation = start.continuation
        self._tools = {tool.name: tool for tool in start.agent.tools}
        self._answers = Answers(run, start.output_type, start.config) if start.output_type else None
        self._calls = ModelCalls(journal, ports, run, start, self._limits)

    async def perform(self) -> None:
        """Take turns until the run is done. Returns when it succeeded, and raises the error that made it fail.

        Cancelling it closes the model's stream and cancels the tools; the text so far stays on the run.

        Raises:
            WhisperError: a model call failed, or the run took too many turns or too long.
        """
        run = self._run
        current_run.set(run)
        timeout_s = self._limits.timeout_s
        deadline = Deadline(timeout_s)
        try:
            async with deadline:
                return await self._take_turns()
        except TimeoutError:
            if deadline.expired is None:
                raise
            failure: RunFailed = self._too_late(deadline, timeout_s)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this run, so it must not say that it was.
            failure = RunFailed("something that it awaited was cancelled from within; submit it again")
        except (SystemExit, GeneratorExit) as error:  # raised by the model: it would end the event loop
            failure = RunFailed(f"the model raised {type(error).__name__}")
        except BaseException as error:  # KeyboardInterrupt, or an outcome of a test runner: no failure of the model
            if isinstance(error, Exception):
                raise
            # The code that awaits the run gets it.
            run.error = error.with_traceback(None)
            raise asyncio.CancelledError from None
        # Raised here, so that it does not hold the error that it replaces, and all that its frames refer to.
        raise failure

    def _too_late(self, deadline: Deadline, timeout_s: float | None) -> LimitExceeded:
        what = f"it took too long: {deadline.expired}; its text so far is in run.text"
        return LimitExceeded(what, reason="time", limit=timeout_s or 0.0, used=self._run.seconds)

    async def _take_turns(self) -> None:
        await self._calls.begin()
        turns = 0
        while True:
            match next_step(self._journal.projection.turn):
                case Done(text):
                    if self._answers is not None and (correction := await self._answers.check(text)):
                        await self._journal.publish(RunContinued(correction, "invalid"), self._run)
                    elif not await self._goes_on(text):
                        return
                case CallModel():
                    if turns == self._limits.max_turns:
                        raise TurnLimitExceeded(
                            f"it wants more than {turns} turns; raise {named('max_turns', self._run)} to allow it",
                            reason="turns",
                            limit=turns,
                            used=turns,
                        )
                    turns += 1
                    await self._journal.wait_open(self._run)
                    await self._calls.make()
                case CallTools(pending):
                    await self._call_tools(pending)
                case step:
                    assert_never(step)

    async def _goes_on(self, reply: str) -> bool:
        """Publish the prompt of the next iteration, if the agent goes on by itself and is not done."""
        continuation = self._continuation
        if continuation is None or continuation.is_done(reply):
            return False
        events = (record.event for record in self._run.events)
        number = 2 + sum(isinstance(event, RunContinued) and event.reason == "continuation" for event in events)
        if number <= continuation.max_iterations:
            await self._journal.publish(RunContinued(continuation.prompt(number), "continuation"), self._run)
            return True
        name = self._run.session.name
        await self._journal.publish(Noticed(f"{name} {continuation.gave_up}"), self._run)
        return False

    # Tool calls

    async def _call_tools(self, pending: Sequence[ToolCall]) -> None:
        """Run the calls concurrently; each result is published as it comes."""
        home = self._ports.home
        main = home.visits if home.visits_main else None
        interrupts: list[KeyboardInterrupt] = []

        async def one(call: ToolCall) -> None:
            await self._journal.publish(ToolStarted(call), self._run)
            try:
                with self._ports.around_tool():
                    result = await call_tool(self._tools, call, main)
            except KeyboardInterrupt as error:  # raised from this task, it would end the event loop
                interrupts.append(error)
                raise asyncio.CancelledError from None
            await self._journal.publish(ToolFinished(result), self._run)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(call)) for call in pending]
        except BaseExceptionGroup as failures:  # of the store, or of a test runner; those of tools are results
            raise failures.exceptions[0] from None
        if interrupts:
            raise interrupts[0]
        # Cancelled by its own tool: a call without a result would be made again and again.
        if any(task.cancelled() for task in tasks):
            raise asyncio.CancelledError
