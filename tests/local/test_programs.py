"""The life of a program under a real Supervisor: start, failure, change, end. Small stand-in servers, not ours."""

import contextlib
import os
import signal
import socket
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from llmfleet.errors import LocalError
from llmfleet.local import programs, supervisor
from llmfleet.local.ports import Port, is_free
from llmfleet.local.program import Program


def pid_of(home, name="web"):
    with supervisor.connected(home) as rpc:
        return rpc.getProcessInfo(name)["pid"]


def known(home):
    with supervisor.connected(home) as rpc:
        return sorted(info["name"] for info in rpc.getAllProcessInfo())


def test_create_returns_when_the_program_is_healthy(home, web, free_port):
    port = free_port()
    programs.create(home, web(port))
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/").status == 200
    assert programs.is_healthy(home, web(port))
    assert f"['{port}', '']" in (home.logs / "web.log").read_text()


def test_a_ready_file_is_waited_for_and_an_old_one_does_not_count(home):
    code = "import pathlib, time; time.sleep(0.7); pathlib.Path('run/ready').touch(); time.sleep(100)"
    program = Program("w", (sys.executable, "-c", code), ready_file="run/ready", start_seconds=20)
    ready = home.folder / "run" / "ready"
    ready.touch()
    begin = time.monotonic()
    programs.create(home, program)
    assert time.monotonic() - begin > 0.6
    programs.delete(home, program)
    assert not ready.exists()


def test_a_program_that_ends_fails_with_its_own_words_and_leaves_nothing(home, free_port):
    log = home.logs / "bad.log"
    log.write_text("words of an earlier start\n")
    code = "import sys; print('loading'); sys.exit('no such model: llama')"
    program = Program(
        "bad",
        (sys.executable, "-c", code),
        ports=(Port(free_port(), "x.port"),),
        files={"bad.conf": "text"},
        folders=("data/bad",),
        health_url="http://127.0.0.1:1/",
    )
    (home.data / "bad").mkdir(parents=True)
    with pytest.raises(LocalError) as error:
        programs.create(home, program)
    assert str(error.value).splitlines()[0] == f"bad ended instead of becoming healthy; the last lines of {log}:"
    assert "  no such model: llama" in str(error.value).splitlines()
    assert "earlier start" not in str(error.value)
    assert known(home) == []
    assert not (home.folder / "bad.conf").exists()
    assert list(home.programs.iterdir()) == []
    assert (home.data / "bad").exists()  # of a state that was lost, perhaps; the next start may work


def test_a_program_that_hangs_fails_in_time_and_is_ended(home):
    program = Program(
        "slow", (sys.executable, "-c", "import time; time.sleep(100)"), ready_file="ready", start_seconds=1.5
    )
    with pytest.raises(LocalError, match=r"slow did not become healthy within 1.5 s \(ready\); it wrote nothing"):
        programs.create(home, program)
    assert known(home) == []


def test_a_command_that_does_not_exist_is_told(home):
    with pytest.raises(LocalError, match="nothing ended instead of becoming healthy"):
        programs.create(home, Program("nothing", ("/no/such/program",)))


def test_a_taken_port_is_told_before_anything_starts(home, web):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=rf"port {port} is taken by .*\(pid {os.getpid()}\).*set web.port"):
            programs.create(home, web(port))
    assert not (home.logs / "web.log").exists()


def test_without_supervisor_the_user_learns_how_to_get_it_back(home, web, free_port):
    supervisor.stop(home)
    with pytest.raises(LocalError, match="pulumi up --refresh"):
        programs.create(home, web(free_port()))


def test_update_changes_what_runs(home, web, free_port):
    old, new = web(free_port(), files={"old.txt": ""}), web(free_port(), log="new", files={"new.txt": ""})
    programs.create(home, old)
    programs.update(home, old, new)
    assert is_free(old.ports[0].number)
    assert programs.is_healthy(home, new)
    assert (home.folder / "new.txt").exists()
    assert not (home.folder / "old.txt").exists()


def test_a_failed_update_leaves_the_old_program_running(home, web, free_port):
    old = web(free_port())
    programs.create(home, old)
    with pytest.raises(LocalError, match="web ended instead"):
        programs.update(home, old, web(free_port(), command=(sys.executable, "-c", "raise SystemExit(3)")))
    assert programs.is_healthy(home, old)


def test_an_update_to_a_taken_port_does_not_even_stop_the_old_program(home, web, free_port):
    old = web(free_port())
    programs.create(home, old)
    pid = pid_of(home)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(LocalError, match="is taken by"):
            programs.update(home, old, web(taken.getsockname()[1]))
    assert pid_of(home) == pid


def test_delete_ends_the_whole_group_even_children_that_refuse(home, free_port):
    port = free_port()
    # The child ignores SIGTERM and keeps a port; its parent ends at once.
    child = (
        "import signal, socket, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); s = socket.socket();"
        f"s.bind(('127.0.0.1', {port})); s.listen(); open('child-is-up', 'w').close(); time.sleep(1000)"
    )
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    program = Program("tree", (sys.executable, "-c", code), ready_file="child-is-up", ports=(Port(port, "x"),))
    programs.create(home, program)
    children = psutil.Process(pid_of(home, "tree")).children()
    assert len(children) == 1
    programs.delete(home, program)
    assert is_free(port)
    with contextlib.suppress(psutil.NoSuchProcess):
        assert children[0].status() == psutil.STATUS_ZOMBIE


def test_a_program_that_ignores_sigterm_is_killed_after_its_time(home):
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('up', 'w').close(); time.sleep(1000)"
    )
    program = Program("deaf", (sys.executable, "-c", code), ready_file="up", stop_seconds=1)
    programs.create(home, program)
    begin = time.monotonic()
    programs.delete(home, program)
    assert time.monotonic() - begin < 8
    assert known(home) == []


def test_data_go_with_the_program_but_not_its_log(home, web, free_port):
    program = web(free_port(), folders=("data/web",))
    programs.create(home, program)
    (home.data / "web").mkdir(parents=True)
    programs.delete(home, program)
    programs.delete(home, program)  # a retry finds nothing to do
    assert not (home.data / "web").exists()
    assert (home.logs / "web.log").exists()


def test_a_killed_program_comes_back_by_itself(home, web, free_port):
    program = web(free_port())
    programs.create(home, program)
    pid = pid_of(home)
    os.kill(pid, signal.SIGKILL)
    assert programs.is_healthy(home, program)
    assert pid_of(home) != pid


def test_a_stopped_or_forgotten_program_is_not_healthy(home, web, free_port):
    program = web(free_port())
    programs.create(home, program)
    with supervisor.connected(home) as rpc:
        rpc.stopProcess("web")
    assert not programs.is_healthy(home, program)
    programs.end(home, program)
    assert not programs.is_healthy(home, program)
    supervisor.stop(home)
    assert not programs.is_healthy(home, program)


def test_a_program_that_answers_no_more_is_not_healthy(home, web, free_port):
    program = web(free_port())
    programs.create(home, program)
    os.kill(pid_of(home), signal.SIGSTOP)
    try:
        assert not programs.is_healthy(home, program, seconds=0.5)
    finally:
        os.kill(pid_of(home), signal.SIGCONT)


def test_delete_finds_the_orphan_of_a_killed_supervisor(home, web, free_port):
    program = web(free_port())
    programs.create(home, program)
    daemon = psutil.Process(int(home.pid_file.read_text()))
    daemon.kill()
    daemon.wait(10)
    programs.delete(home, program)
    assert is_free(program.ports[0].number)


def test_many_programs_come_and_go_in_parallel(home):
    def live(number):
        ready = f"run/{number}"
        code = f"import time; open('{ready}', 'w').close(); time.sleep(100)"
        program = Program(f"p{number}", (sys.executable, "-c", code), ready_file=ready)
        for _ in range(10):
            programs.create(home, program)
            programs.delete(home, program)
        programs.create(home, program)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(live, range(4)))
    assert known(home) == ["p0", "p1", "p2", "p3"]
