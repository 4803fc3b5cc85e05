"""`python -m whisper_nb`: a terminal lists and stops the agents of the user's kernels."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from support.doubles import hire
from whisper_nb import Rule, Run, RunCancelled, Runtime, ScriptedModel, Session
from whisper_nb.__main__ import main
from whisper_nb.config.paths import sockets_folder
from whisper_nb.notebook.cells.render import log_line, status_line
from whisper_nb.team import kernels
from whisper_nb.team.control import MAX_CLIENTS, Control
from whisper_nb.team.kernels import listed, stop

PID = os.getpid()
RULES = [Rule("^forever", "never", delay_s=3600), Rule(reply="fine")]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Short, because the name of a Unix socket has 107 characters at most."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setattr(kernels, "ANSWER_TIMEOUT_S", 60.0)
    monkeypatch.setattr(kernels, "END_TIMEOUT_S", 60.0)
    with tempfile.TemporaryDirectory(prefix="w") as name:
        yield Path(name) / "run" / "whisper_nb"


@pytest.fixture
async def runtime(folder: Path, complaints: list[str]) -> AsyncIterator[Runtime]:
    """Agents in a thread, so that they can answer requests that this thread sends and waits for."""
    async with Runtime(environ={}, loop="thread") as rt:
        control = Control(rt, folder)
        yield rt
        control.close()
        assert list(folder.parent.glob("*/*")) == []


@pytest.fixture
def bob(runtime: Runtime) -> Session:
    return hire(runtime, ScriptedModel(RULES))


async def under_way(runtime: Runtime, *runs: Run) -> None:
    """Wait until these runs have started, or are queued behind others."""
    for run in runs:
        async for _ in run.stream():
            break
    runtime.home.do(lambda: None)  # everybody has heard of it


def here(said: str) -> str:
    """Replace this process's number and folder in a line."""
    return said.replace(f"kernel {PID} in {os.getcwd()!r}", "this one").replace(f"kernel {PID}", "this one")


def stop_answer(folder: Path, *names: str) -> tuple[list[str], bool]:
    lines, done = stop(folder, names or None)
    return [here(line) for line in lines], done


async def test_there_is_no_socket_before_the_first_run(folder: Path, bob: Session) -> None:
    assert not folder.exists()
    assert stop_answer(folder) == (["none of your kernels has run an agent"], True)
    await bob.submit("hello")
    assert [path.name for path in folder.iterdir()] == [f"{PID}.socket"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_stop_answers_when_the_cancelled_runs_have_ended(folder: Path, runtime: Runtime, bob: Session) -> None:
    amy = hire(runtime, ScriptedModel(RULES), "amy")
    runs = [bob.submit("forever"), amy.submit("forever"), bob.submit("forever")]
    await under_way(runtime, *runs)
    assert stop_answer(folder) == (["this one: stopped bob, amy; ended bob#1, amy#1, bob#2"], True)
    assert {run.status for run in runs} == {"cancelled"}
    assert {session.state.label for session in runtime.sessions} == {"stopped"}
    assert stop_answer(folder) == (["this one: no runs to cancel; stopped until %agent resume: bob, amy"], True)


async def test_stop_by_name_stops_these_agents_only(folder: Path, runtime: Runtime, bob: Session) -> None:
    amy = hire(runtime, ScriptedModel(RULES), "amy")
    going, run = bob.submit("forever"), amy.submit("forever")
    await under_way(runtime, going, run)
    assert stop_answer(folder, "amy") == (["this one: stopped amy; ended amy#1"], True)
    assert stop_answer(folder, "amy", "eve") == (
        ["this one: no runs to cancel; stopped until %agent resume: amy", "no kernel has an agent named eve"],
        False,
    )
    assert stop_answer(folder, "eve") == (["no kernel has an agent named eve"], False)
    assert (run.status, going.done) == ("cancelled", False)


async def test_list(folder: Path, runtime: Runtime, bob: Session) -> None:
    hire(runtime, ScriptedModel(RULES), "amy")
    run = bob.submit("forever")
    async for record in run.stream():
        if record.event.__class__.__name__ == "RunStarted":
            break
    lines, done = listed(folder)
    assert ([here(line) for line in lines], done) == (
        ["this one", "  bob: running, 1 unfinished", "  amy: idle, 0 unfinished"],
        True,
    )


async def test_the_socket_works_after_agents_moved_there_and_back(folder: Path, runtime: Runtime, bob: Session) -> None:
    await bob.submit("hello")
    for where in ("notebook", "thread"):
        runtime.loop(where)
        answer = await asyncio.to_thread(stop_answer, folder)
        assert answer == (["this one: no runs to cancel; stopped until %agent resume: bob"], True)


async def test_a_request_to_a_blocked_loop_says_so_and_is_executed_later(
    folder: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "ANSWER_TIMEOUT_S", 0.1)
    async with Runtime(environ={}) as rt:
        control = Control(rt, folder)
        run = hire(rt, ScriptedModel(RULES)).submit("forever")
        await under_way(rt, run)
        assert stop_answer(folder) == (
            ["this one is busy: it will stop its agents when its cell ends or awaits"],
            False,
        )
        hers = "this one is busy: it will stop those of amy, eve that it has when its cell ends or awaits"
        assert stop_answer(folder, "amy", "eve") == ([hers], False)
        assert listed(folder)[1] is False
        assert not run.done
        with pytest.raises(RunCancelled):
            await run
        assert rt["bob"].state.gate == "stopped"
        control.close()


async def test_a_run_that_does_not_end_in_time_is_reported(
    folder: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    async def stubborn() -> str:
        "Hold on."
        while not go_on.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
        return "done"

    rules = [Rule(role="user", calls=[{"name": "stubborn"}]), Rule(reply="fine")]
    run = hire(runtime, ScriptedModel(rules), tools=(stubborn,)).submit("go")
    async for record in run.stream():
        if record.event.__class__.__name__ == "ToolStarted":
            break
    monkeypatch.setattr(kernels, "END_TIMEOUT_S", 0.1)
    assert stop_answer(folder) == (["this one: stopped bob; still ending: bob#1"], False)
    go_on.set()


async def test_a_long_list_names_the_agents_at_work_and_counts_the_rest(folder: Path, runtime: Runtime) -> None:
    for number in range(1_000):
        hire(runtime, ScriptedModel(RULES), f"agent-{number}")
    await under_way(runtime, runtime["agent-999"].submit("forever"))
    lines, done = listed(folder)
    assert (lines[1], lines[-1], len(lines), done) == (
        "  agent-999: running, 1 unfinished",
        "  and 500 more",
        502,
        True,
    )
    [line], done = stop_answer(folder)
    assert (line.endswith("agent-499, 500 more; ended agent-999#1"), done) == (True, True)


async def test_sockets_of_dead_kernels_are_removed(folder: Path, bob: Session) -> None:
    await bob.submit("hello")
    dead = folder / "1.socket"
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(dead))
    assert stop_answer(folder) == (["this one: no runs to cancel; stopped until %agent resume: bob"], True)
    assert not dead.exists()


async def test_a_socket_of_a_dead_process_with_the_same_pid_is_replaced(folder: Path, bob: Session) -> None:
    folder.mkdir(parents=True, mode=0o700)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(folder / f"{PID}.socket"))
    await bob.submit("hello")
    assert stop_answer(folder) == (["this one: no runs to cancel; stopped until %agent resume: bob"], True)


async def test_two_kernels_of_one_folder_have_different_names(
    folder: Path, runtime: Runtime, bob: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bob.submit("hello")
    monkeypatch.setenv("JPY_SESSION_NAME", "/notebooks/first.ipynb")
    assert listed(folder)[0][0] == f"kernel {PID} of '/notebooks/first.ipynb'"
    assert stop(folder, None)[0][0].startswith(f"kernel {PID} of '/notebooks/first.ipynb': no runs to cancel")


async def test_a_kernel_whose_folder_is_deleted_still_answers(
    folder: Path, runtime: Runtime, bob: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bob.submit("hello")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert listed(folder) == ([f"kernel {PID} in a folder that was deleted", "  bob: idle, 0 unfinished"], True)


async def test_other_files_in_the_sockets_folder_are_ignored(folder: Path, runtime: Runtime, bob: Session) -> None:
    await bob.submit("hello")
    (folder / "1.socket").mkdir()
    (folder / "2.socket").write_text("no socket")
    (folder / "3.socket").symlink_to("nowhere")
    others = [folder / f"{name}.socket" for name in ("abc", "-1", "1.5", "")]
    for path in others:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(str(path))
    assert stop_answer(folder) == (["this one: no runs to cancel; stopped until %agent resume: bob"], True)
    assert len(list(folder.iterdir())) == 8
    for path in (*others, folder / "2.socket", folder / "3.socket"):
        path.unlink()
    (folder / "1.socket").rmdir()


async def test_a_request_with_too_many_names_is_refused_before_it_is_sent(
    folder: Path, bob: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("whisper_nb.__main__.sockets_folder", lambda: folder)
    await bob.submit("hello")
    many = [f"agent-{number:05}" for number in range(5_000)]
    assert main(["stop", "bob", *many]) == 1
    assert capsys.readouterr().out == (
        "too many names: 5,001 (75,032 bytes; at most 65,536 are allowed). Give fewer, or --all\n"
    )
    assert bob.state.gate == "open"
    assert main(["stop", "bob", *many[:4_000]]) == 1
    assert bob.state.gate == "stopped"


@pytest.mark.parametrize(
    "sent",
    [b"", b"x", b"[]", b"null", b"{}", b'{"do": "stop"}', b'{"do": "fly", "names": null}',
     b'{"do": "stop", "names": 5}', b"\xff" * 99],
)  # fmt: skip
async def test_a_malformed_request_gets_no_answer(folder: Path, bob: Session, sent: bytes) -> None:
    await bob.submit("hello")

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as end:
            end.connect(str(folder / f"{PID}.socket"))
            end.sendall(sent)
            end.shutdown(socket.SHUT_WR)
            return end.recv(100)

    assert await asyncio.to_thread(ask) == b""
    assert bob.state.gate == "open"


async def test_a_request_is_executed_though_its_sender_has_gone(folder: Path, runtime: Runtime, bob: Session) -> None:
    run = bob.submit("forever")
    await under_way(runtime, run)
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(str(folder / f"{PID}.socket"))
        end.sendall(b'{"do": "stop", "names": null}')
    with pytest.raises(RunCancelled):
        await run


async def test_a_stop_is_told_as_that_of_a_terminal(folder: Path, runtime: Runtime, bob: Session) -> None:
    runs = [bob.submit("forever"), bob.submit("forever")]
    await under_way(runtime, *runs)
    assert stop_answer(folder, "bob")[1]
    for run in runs:
        assert "cancelled · stopped from a terminal" in status_line(run)
        assert "cancelled: stopped from a terminal" in log_line([*run.events][-1])
        with pytest.raises(RunCancelled, match=f"{run.id} was cancelled: stopped from a terminal"):
            await run
    assert "note: stopped from a terminal" in "\n".join(map(log_line, runtime.store.records("bob")))
    bob.resume()
    run = bob.submit("forever")
    run.cancel()
    with pytest.raises(RunCancelled, match=r"was cancelled$"):
        await run


class OtherKernel(threading.Thread):
    """A kernel in another process. Busy, it accepts connections and answers nothing."""

    def __init__(self, folder: Path, number: int, agents: Sequence[str] | None) -> None:
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / f"{number}.socket"))
        self.listener.listen()
        self.agents = agents
        self.requests: list[bytes] = []
        self.clients: list[socket.socket] = []

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                self.clients.append(client)
                if self.agents is not None and (request := client.recv(1000)):
                    self.requests.append(request)
                    facts = {
                        "source": "in 'another'",
                        "agents": {name: ["idle", 0] for name in self.agents},
                        "runs": [],
                    }
                    client.sendall(json.dumps(facts | {"ended": True}).encode() + b"\n")

    def end(self, folder: Path, number: int) -> None:
        for end in (self.listener, *self.clients):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        (folder / f"{number}.socket").unlink()
        self.join()


@pytest.mark.parametrize("agents", [("amy", "bob"), None], ids=["another", "busy"])
async def test_a_name_that_several_kernels_may_have_needs_a_kernel(
    folder: Path, bob: Session, agents: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bob.submit("hello")
    other = OtherKernel(folder, 1, agents)
    other.start()
    if agents is None:
        monkeypatch.setattr(kernels, "ANSWER_TIMEOUT_S", 0.5)
    (first, *labels), done = await asyncio.to_thread(stop_answer, folder, "bob")
    assert first == "several kernels have an agent named bob: nothing was stopped. Give --kernel NUMBER"
    assert (labels, done) == (
        ["kernel 1 in 'another'" if agents else "kernel 1 is busy, and may have it", "this one"],
        False,
    )
    assert bob.state.gate == "open"
    assert not any(b'"stop"' in request for request in other.requests)
    monkeypatch.setattr(kernels, "ANSWER_TIMEOUT_S", 60.0)
    assert (await asyncio.to_thread(stop, folder, ["bob"], PID))[1]
    assert bob.state.gate == "stopped"
    other.end(folder, 1)


async def test_a_name_that_one_of_several_kernels_has_needs_no_kernel(folder: Path, bob: Session) -> None:
    await bob.submit("hello")
    other = OtherKernel(folder, 1, ["amy"])
    other.start()
    assert (await asyncio.to_thread(stop, folder, ["bob"]))[1]
    assert bob.state.gate == "stopped"
    other.end(folder, 1)


async def test_a_client_that_requests_nothing_is_dropped(folder: Path, complaints: list[str]) -> None:
    async with Runtime(environ={}, loop="thread") as rt:
        control = Control(rt, folder, request_s=0.05)
        await hire(rt, ScriptedModel(RULES)).submit("hello")
        with socket.socket(socket.AF_UNIX) as idle:
            idle.settimeout(60)
            idle.connect(str(folder / f"{PID}.socket"))
            assert await asyncio.to_thread(idle.recv, 100) == b""
        assert stop(folder, None)[1]
        control.close()


async def test_many_clients_that_request_nothing_are_dropped(folder: Path, runtime: Runtime, bob: Session) -> None:
    await bob.submit("hello")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(MAX_CLIENTS + 3)]
    for client in clients:
        client.connect(str(folder / f"{PID}.socket"))
        runtime.home.do(lambda: None)
    for client in clients[:3]:
        client.settimeout(60)
        assert await asyncio.to_thread(client.recv, 100) == b""
    assert stop_answer(folder, "bob")[1]
    for client in clients:
        client.close()


async def test_a_sockets_folder_that_other_users_may_enter_is_not_used(
    folder: Path, runtime: Runtime, bob: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    assert await bob.submit("hello") == "fine"
    assert list(folder.iterdir()) == []
    with pytest.raises(PermissionError, match="is not private"):
        stop(folder, None)
    monkeypatch.setattr("whisper_nb.__main__.sockets_folder", lambda: folder)
    assert main(["list"]) == 1
    assert "cannot find kernels" in capsys.readouterr().out


async def test_the_command_lists_and_stops_agents_and_sets_the_exit_code(
    folder: Path, bob: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("whisper_nb.__main__.sockets_folder", lambda: folder)
    await bob.submit("hello")
    assert main(["list"]) == 0
    assert main(["stop", "--all"]) == 0
    assert main(["stop", "eve"]) == 1
    assert main(["stop", "--all", "--kernel", "1"]) == 1
    assert main(["stop", "bob", "--kernel", "1"]) == 1
    assert main(["stop", "--all", "--kernel", str(PID)]) == 0
    said = [here(line) for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "this one",
        "  bob: idle, 0 unfinished",
        "this one: no runs to cancel; stopped until %agent resume: bob",
        "no kernel has an agent named eve",
        "no kernel 1 of yours has run an agent. `python -m whisper_nb list` lists kernels",
        "no kernel 1 of yours has run an agent. `python -m whisper_nb list` lists kernels",
        "this one: no runs to cancel; stopped until %agent resume: bob",
    ]
    for words in ([], ["stop"], ["stop", "--all", "bob"], ["fly"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2


def test_the_command_without_kernels_says_that_there_are_none(folder: Path) -> None:
    folder.parent.mkdir(mode=0o700)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(folder.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "whisper_nb", "stop", "--all"], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "none of your kernels has run an agent\n", "")


async def test_characters_that_a_terminal_cannot_encode_are_escaped(
    folder: Path, bob: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bob.submit("hello")
    monkeypatch.setenv("JPY_SESSION_NAME", "/notebooks/größe.ipynb")
    folder.parent.chmod(0o700)
    env = {**os.environ, "XDG_RUNTIME_DIR": str(folder.parent), "PYTHONIOENCODING": "ascii"}
    for words, code in ((["list"], 0), (["stop", "größe"], 1)):
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "whisper_nb", *words, env=env, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await done.communicate()
        assert (done.returncode, b"gr\\xf6\\xdfe" in said) == (code, True)


def test_the_sockets_folder_belongs_to_the_user_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert sockets_folder().name == "whisper_nb"  # and there is no warning where no session says where
