"""What Supervisor is told of a program. Proves the text against Supervisor's own reader; starts nothing."""

import shlex
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor.options import UnhosedConfigParser

from llmfleet.errors import LocalError
from llmfleet.local.ports import Port
from llmfleet.local.program import Program, config

words = st.text(
    st.characters(exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\x00", exclude_categories=["Cs"])
)


@given(st.lists(words, min_size=1, max_size=5))
def test_any_argument_arrives_as_it_was(arguments):
    parser = UnhosedConfigParser()
    parser.read_string(config(Program("x", ("/bin/echo", *arguments))))
    command = parser.saneget("program:x", "command", expansions={"here": "/"})
    assert shlex.split(command) == ["/bin/echo", *arguments]


def test_a_line_break_in_an_argument_is_refused():
    with pytest.raises(LocalError, match="line break"):
        config(Program("x", ("/bin/echo", "a\nautostart=false")))


def test_a_name_that_would_be_a_path_or_a_section_is_refused():
    for name in ("../x", "a:b", "a]", ""):
        with pytest.raises(LocalError, match="cannot be a program's name"):
            config(Program(name, ("/bin/echo",)))


def test_our_own_programs_are_those_of_this_python():
    assert f"{sys.executable} -P -m llmfleet gateway" in config(Program("x", ("llmfleet", "gateway")))
    assert "/nats-server -c" in config(Program("x", ("nats-server", "-c", "nats.conf")))


def test_a_program_survives_the_way_through_pulumis_state():
    program = Program("x", ("a", "b"), ports=(Port(8080, "gateway.port"),), files={"f": "text"}, folders=("d",))
    props = program.props()
    props["ports"] = [{"number": 8080.0, "key": "gateway.port"}]
    assert Program.of(props) == program


def test_only_what_a_process_would_notice_restarts_it():
    program = Program("x", ("a",), ports=(Port(1, "pools[0].port"),))
    assert program.runs_like(Program("x", ("a",), ports=(Port(1, "pools[1].port"),), start_seconds=99))
    assert not program.runs_like(Program("x", ("a",), ports=(Port(2, "pools[0].port"),)))
    assert not program.runs_like(Program("x", ("b",), ports=(Port(1, "pools[0].port"),)))
    assert not program.runs_like(Program("x", ("a",), ports=(Port(1, "pools[0].port"),), files={"f": ""}))
