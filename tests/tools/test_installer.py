"""Installation by an install script that a stand-in for Pulumi's server hands out.

Proves which options the script gets, that it is run at most once, and what the user reads when it fails. Proves
nothing about Pulumi's real script but that these options are the ones its documentation names.
"""

import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tools.pulumi_cli import find, installer
from tools.pulumi_cli.settings import cache_dir, pinned, spell

GOOD = """\
root= version= edit=yes
while [ $# -gt 0 ]; do
    case "$1" in
        --version) version="$2"; shift ;;
        --install-root) root="$2"; shift ;;
        --no-edit-path) edit=no ;;
        *) echo "unknown option $1"; exit 2 ;;
    esac
    shift
done
[ "$edit" = no ] || echo "export PATH" >> "$HOME/.profile"
mkdir -p "$root/bin"
echo "#!/bin/sh
echo v$version" > "$root/bin/pulumi"
cp "$root/bin/pulumi" "$root/bin/pulumi-language-python"
chmod +x "$root/bin/pulumi" "$root/bin/pulumi-language-python"
"""


class Server(http.server.ThreadingHTTPServer):
    """Answers every GET with `script` and remembers the paths asked for."""

    script = f"#!/bin/sh\n{GOOD}"
    status = 200
    daemon_threads = False  # So that leaving the `with` block waits for them.

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.script.encode())

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server(lonely, monkeypatch) -> Iterator[Server]:
    with Server() as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        monkeypatch.setenv("LLMFLEET_PULUMI_INSTALLER", f"http://127.0.0.1:{listening.server_port}/")
        monkeypatch.setenv("LLMFLEET_PULUMI", "install")
        yield listening
        listening.shutdown()
        thread.join()


def test_the_pinned_version_goes_into_the_cache_and_nowhere_else(server, tmp_path):
    (tmp_path / "home").mkdir()
    folder = find.ensure()
    assert folder == cache_dir() / spell(pinned()) / "official" / "bin"
    assert find.cli_version(folder / "pulumi") == pinned()
    assert server.asked == ["/install.sh"]
    assert list((tmp_path / "home").iterdir()) == []
    find.ensure()
    assert server.asked == ["/install.sh"], "installed a second time"


def test_without_a_cli_the_official_installer_is_the_first_choice(server, monkeypatch, capfd):
    monkeypatch.delenv("LLMFLEET_PULUMI")
    assert find.ensure() == find.bin_folder("official")
    assert capfd.readouterr().out == ""


def test_two_at_once_install_once(server):
    server.script = f"#!/bin/sh\nsleep 1\n{GOOD}"
    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(lambda _: find.ensure(), range(2))) == {find.bin_folder("official")}
    assert server.asked == ["/install.sh"]


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("#!/bin/sh\necho no such release; exit 7", 200, "failed with exit code 7; it said:\n  no such release"),
        ("#!/bin/sh\nexit 0", 200, "has left no bin/pulumi; it said:\n  (nothing)"),
        ("<html>please sign in</html>", 200, "answered something that is no shell script"),
        ("#!/bin/sh\n", 503, "answered 503 Service Unavailable"),
        (f"#!/bin/sh\n{GOOD.replace('v$version', '3.1.0')}", 200, "is 3.1.0, but 3.220.0 or newer is needed"),
    ],
)
def test_a_failed_installation_says_why_and_leaves_nothing(server, script, status, words):
    server.script, server.status = script, status
    with pytest.raises(installer.InstallerError) as error:
        find.ensure()
    assert words in str(error.value)
    left = [path.name for path in (cache_dir() / spell(pinned())).iterdir()]
    assert left == [".official.lock"]


def test_what_a_dead_process_left_is_removed_by_the_next(server):
    left_over = cache_dir() / spell(pinned()) / ".part-official-dead"
    (left_over / "bin").mkdir(parents=True)
    find.ensure()
    assert not left_over.exists()
    assert (cache_dir() / spell(pinned()) / "official").stat().st_mode & 0o777 == 0o755


def test_a_broken_installation_is_replaced(server):
    broken = find.bin_folder("official") / "pulumi"
    broken.parent.mkdir(parents=True)
    broken.touch()
    find.ensure()
    assert find.cli_version(broken) == pinned()


def test_an_installer_address_must_be_http(lonely, monkeypatch):
    monkeypatch.setenv("LLMFLEET_PULUMI", "install")
    monkeypatch.setenv("LLMFLEET_PULUMI_INSTALLER", "file:///etc")
    with pytest.raises(installer.InstallerError, match="must be an http"):
        find.ensure()
