"""Which CLI is chosen, with fake ones on a PATH.

Proves the order and the words; that a real CLI then works is test_engine's matter.
"""

from pathlib import Path

import pytest

from tools.pulumi_cli import find
from tools.pulumi_cli.__main__ import main
from tools.pulumi_cli.settings import PACKAGE, PulumiCliError, parse, pinned


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v3.259.0\n", (3, 259, 0)),
        ("3.260.0-alpha.1+dirty", (3, 260, 0)),
        ("go1.26", (1, 26, 0)),
        ("go1.27rc1", (1, 27, 0)),
        ("devel go1.28-abc linux/amd64", (1, 28, 0)),
        ("command not found", None),
        ("", None),
    ],
)
def test_versions_are_read_as_pulumi_and_go_write_them(text, version):
    assert parse(text) == version


def test_both_modules_of_pulumi_are_pinned_to_one_version():
    lines = (PACKAGE / "go.mod").read_text().split("\n")
    named = {line.split()[1] for line in lines if line.strip().startswith("github.com/pulumi/pulumi/")}
    assert named == {"v" + ".".join(map(str, pinned()))}


def test_a_new_enough_cli_on_the_path_is_taken(lonely, fake_pulumi):
    fake_pulumi(lonely, "v3.220.0")
    assert find.ensure() == lonely


def test_an_installed_cli_comes_after_the_path_and_before_an_installation(lonely, fake_pulumi, capfd):
    built = find.bin_folder("built")
    fake_pulumi(built, "v3.259.0")
    assert find.ensure() == built
    fake_pulumi(find.bin_folder("official"), "v3.259.0")
    assert find.ensure() == find.bin_folder("official")
    fake_pulumi(lonely, "v3.300.1")
    assert find.ensure() == lonely
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("body_or_version", "host", "words"),
    [
        ("v3.219.9", True, "is 3.219.9, but 3.220.0 or newer is needed: passed over."),
        ("command-line surprise", True, "does not run: passed over."),
        ("v3.300.0", False, "has no pulumi-language-python beside it or on PATH: passed over."),
    ],
)
def test_a_cli_on_the_path_that_will_not_do_is_passed_over_in_one_line(
    lonely, fake_pulumi, capfd, body_or_version, host, words
):
    program = fake_pulumi(lonely, body_or_version, host)
    fake_pulumi(find.bin_folder("official"), "v3.259.0")
    assert find.ensure() == find.bin_folder("official")
    assert capfd.readouterr().err == f"{program} {words}\n"


def test_build_and_install_do_not_look_at_the_path(lonely, fake_pulumi, monkeypatch):
    fake_pulumi(lonely, "v3.300.0")
    for wish, kind in (("build", "built"), ("install", "official")):
        fake_pulumi(find.bin_folder(kind), "v3.259.0")
        monkeypatch.setenv("LLMFLEET_PULUMI", wish)
        assert find.ensure() == find.bin_folder(kind)


def test_the_language_host_beside_a_built_cli_follows_the_checkout(lonely, fake_pulumi):
    built = find.bin_folder("built")
    fake_pulumi(built, "v3.259.0")
    (built / "language_host.py").write_text("of another day")
    find.ensure()
    for name in ("language_host.py", "pulumi-language-python"):
        assert (built / name).read_bytes() == (PACKAGE / name).read_bytes()
        assert (built / name).stat().st_mode & 0o111 == 0o111
    assert sorted(path.name for path in built.iterdir()) == ["language_host.py", "pulumi", "pulumi-language-python"]


def test_the_users_own_cli_directory_is_never_written_to(lonely, fake_pulumi):
    fake_pulumi(lonely, "v3.300.0")
    before = sorted(path.name for path in lonely.iterdir())
    find.ensure()
    assert sorted(path.name for path in lonely.iterdir()) == before


def test_a_named_binary_is_used_and_nothing_else(lonely, fake_pulumi, monkeypatch, tmp_path):
    fake_pulumi(lonely, "v3.300.0")
    named = fake_pulumi(tmp_path / "mine", "v3.230.0")
    monkeypatch.setenv("LLMFLEET_PULUMI", str(named))
    assert find.ensure() == tmp_path / "mine"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ("biuld", "is no file called pulumi."),
        ("mine/pulumi-3.100", "is no file called pulumi."),
        ("old/pulumi", "is 3.100.0, but 3.220.0 or newer is needed."),
    ],
)
def test_a_named_binary_that_will_not_do_is_an_error_that_names_the_choices(
    lonely, fake_pulumi, monkeypatch, tmp_path, wish, words
):
    monkeypatch.chdir(tmp_path)
    fake_pulumi(tmp_path / "mine", "v3.300.0").rename(tmp_path / "mine" / "pulumi-3.100")
    fake_pulumi(tmp_path / "old", "v3.100.0")
    monkeypatch.setenv("LLMFLEET_PULUMI", wish)
    with pytest.raises(PulumiCliError) as error:
        find.ensure()
    assert str(error.value) == (
        f"LLMFLEET_PULUMI={wish}: {Path(wish).absolute()} {words}\n"
        "Allowed are auto, install, build, or the path of a pulumi binary."
    )


def test_the_command_prints_the_directory_alone_and_an_error_without_a_traceback(
    lonely, fake_pulumi, monkeypatch, capfd
):
    fake_pulumi(lonely, "v3.300.0")
    assert main(["ensure"]) == 0
    assert capfd.readouterr() == (f"{lonely}\n", "")
    monkeypatch.setenv("LLMFLEET_PULUMI", "biuld")
    assert main(["ensure"]) == 1
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: LLMFLEET_PULUMI=biuld: ")
    assert "Traceback" not in said.err
