"""Supervisor starts, ends and is cleaned up after. Real processes of this machine, in a temporary folder."""

import os
import shutil
import signal

import psutil
import pytest

from llmfleet.local import programs, supervisor
from llmfleet.local.home import Home
from llmfleet.local.ports import is_free


def pid_of(home):
    return int(home.pid_file.read_text())


def test_it_runs_privately_and_leaves_only_its_log(tmp_path):
    home = Home(tmp_path / "local")
    supervisor.start(home)
    pid = pid_of(home)
    assert supervisor.is_alive(home)
    assert home.folder.stat().st_mode & 0o777 == 0o700
    assert home.socket.stat().st_mode & 0o077 == 0
    supervisor.stop(home)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert not supervisor.is_alive(home)
    assert sorted(str(f.relative_to(home.folder)) for f in home.folder.rglob("*")) == ["logs", "logs/supervisor.log"]


def test_a_deep_checkout_gets_a_short_socket_that_is_removed_again(tmp_path):
    home = Home(tmp_path / ("d" * 90) / "local")
    assert len(str(home.socket)) < 60
    supervisor.start(home)
    assert supervisor.is_alive(home)
    assert home.socket.parent.stat().st_mode & 0o777 == 0o700
    supervisor.stop(home)
    assert not home.socket.parent.exists()


def test_a_short_folder_of_somebody_else_is_not_trusted(tmp_path):
    home = Home(tmp_path / ("d" * 90) / "local")
    home.socket.parent.symlink_to(tmp_path)
    try:
        with pytest.raises(PermissionError, match="belongs to somebody else"):
            home.make()
    finally:
        home.socket.parent.unlink()


def test_stopping_what_never_ran_is_nothing(tmp_path):
    supervisor.stop(Home(tmp_path / "never"))


def test_programs_do_not_see_pulumis_secrets(home, web, free_port, monkeypatch):
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "secret")
    supervisor.start(home)
    programs.create(home, web(free_port()))
    with supervisor.connected(home) as rpc:
        pid = rpc.getProcessInfo("web")["pid"]
    environment = psutil.Process(pid).environ()
    assert "SUPERVISOR_SERVER_URL" in environment
    assert not [key for key in environment if key.startswith("PULUMI_")]


def test_a_new_supervisor_ends_what_a_killed_one_left_but_keeps_its_data(home, web, free_port):
    port = free_port()
    programs.create(home, web(port))
    os.kill(pid_of(home), signal.SIGKILL)
    psutil.Process(pid_of(home)).wait(10)
    assert not is_free(port)
    (home.data / "nats").mkdir(parents=True)
    supervisor.start(home)
    assert is_free(port)
    assert (home.data / "nats").exists()
    supervisor.stop(home)
    assert [path.name for path in home.folder.iterdir()] == ["logs"]


def test_a_frozen_supervisor_is_replaced(home, monkeypatch):
    pid = pid_of(home)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(supervisor, "SECONDS_TO_ANSWER", 0.5)
    supervisor.start(home)
    assert pid_of(home) != pid
    assert supervisor.is_alive(home)


def test_a_removed_folder_hides_nothing(home, web, free_port):
    program = web(free_port())
    programs.create(home, program)
    pid = pid_of(home)
    shutil.rmtree(home.folder)
    programs.delete(home, program)
    supervisor.stop(home)
    assert is_free(program.ports[0].number)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
