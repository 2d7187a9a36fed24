"""A wrong stack file: every mistake, its path, its words; and that nothing else than a list of mistakes comes out.

The texts are compared exactly: they are what a user sees.
"""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llmfleet.config import Fleet, FleetError, load_fleet
from llmfleet.errors import ConfigError

MODEL = {"name": "smollm2"}
POOL = {"name": "east", "kind": "local"}


def mistakes(value: object) -> dict[str, str]:
    with pytest.raises(FleetError) as error:
        load_fleet(value)
    return {mistake.path: mistake.text for mistake in error.value.mistakes}


def in_pool(**fields: object) -> dict[str, str]:
    return mistakes({"models": [MODEL], "pools": [{**POOL, **fields}]})


def in_model(**fields: object) -> dict[str, str]:
    return mistakes({"models": [{**MODEL, **fields}], "pools": [POOL]})


def in_windows(*windows: tuple[str, str, str]) -> dict[str, str]:
    schedule = {
        "timezone": "UTC",
        "windows": [{"name": name, "start": start, "end": end, "replicas": 1} for name, start, end in windows],
    }
    return mistakes({"models": [MODEL], "pools": [POOL], "schedule": schedule})


def test_all_mistakes_are_told_at_once_in_a_table():
    value = yaml.safe_load(
        """
        models: [{name: smollm2}]
        pools:
          - {name: east, kind: local}
          - {name: west, kind: local, replcas: 2}
        schedule:
          timezone: Europe/Berlin
          windows:
            - {name: peak, start: "08:00", end: "20:00", replicas: 20}
            - {name: evening, start: "19:00", end: "23:00", replicas: 4}
        """
    )
    with pytest.raises(ConfigError) as error:
        load_fleet(value, where="stacks/Pulumi.prod.yaml")
    assert str(error.value) == (
        "stacks/Pulumi.prod.yaml: 2 mistakes in llmfleet:fleet\n"
        "\n"
        "  pools[1].replcas      unknown field; did you mean replicas?\n"
        "  schedule.windows[0]   peak (08:00-20:00) and evening (19:00-23:00) overlap by 1 h;\n"
        "                        end peak at 19:00 or start evening at 20:00"
    )


def test_mistakes_between_parts_are_told_beside_mistakes_within_them():
    found = mistakes(
        {
            "pools": [
                {"name": "east", "kind": "local", "models": ["smolm2"], "slots": 0},
                {"name": "east", "kind": "local", "colour": "red", "port": 8080},
                {"name": "west", "kind": "cloud"},
            ],
            "models": [{"name": "smollm2", "context": 1}, {"name": "smollm2"}],
            "queue": {"port": 8222, "prot": 1},
            "schedule": {
                "windows": [
                    {"name": "a", "start": "00:00", "end": "02:00", "replicas": "many"},
                    {"name": "b", "start": "01:00", "end": "03:00", "replicas": 1},
                ]
            },
        }
    )
    assert list(found) == [
        "pools[0].slots",
        "pools[0].models[0]",
        "pools[1].colour",
        "pools[1].name",
        "pools[1].port",
        "pools[2].kind",
        "models[0].context",
        "models[1].name",
        "queue.prot",
        "queue.monitor_port",
        "schedule.timezone",
        "schedule.windows[0].replicas",
        "schedule.windows[0]",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "found nothing; needs a mapping with the fields models, pools, queue, gateway, schedule, budget"),
        ([], "found an empty list; needs a mapping with the fields models, pools"),
        ("fleet", 'found "fleet"; needs a mapping'),
        (5, "found 5; needs a mapping"),
    ],
)
def test_a_value_that_is_no_fleet_is_told_what_a_fleet_is(value, text):
    with pytest.raises(FleetError, match="1 mistake in llmfleet:fleet\n\n  llmfleet:fleet   ") as error:
        load_fleet(value)
    assert text in str(error.value)


def test_an_empty_file_is_told_what_to_write():
    assert mistakes({}) == {
        "models": "missing; for example models: [{name: smollm2}]",
        "pools": "missing; for example pools: [{name: east, kind: local}]",
    }
    assert mistakes({"models": [], "pools": {}}) == {
        "models": "found an empty list; needs at least 1",
        "pools": "found an empty mapping; needs a list",
    }


NAMES = "small letters, digits and -, a letter first, at most 31 characters; for example us-east-1"
MODEL_NAMES = "letters, digits and . _ - : /, a letter or digit first, at most 127; for example llama-3.1-8b"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("name", 5, f"found 5; needs text: {NAMES}"),
        ("name", "East", f'found "East"; allowed: {NAMES}'),
        ("name", "east\n", f'found "east\\n"; allowed: {NAMES}'),
        ("name", None, "found nothing; needs text"),
        ("kind", "lokal", 'found "lokal"; did you mean local?'),
        ("kind", "kubernetes", 'found "kubernetes"; allowed: local'),
        ("kind", ["local"], "found a list; allowed: local"),
        ("replicas", 17, "found 17; allowed: 1 to 16"),
        ("replicas", 0, "found 0; allowed: 1 to 16"),
        ("replicas", "2", 'found "2"; needs a whole number, 1 to 16; leave out the quotes'),
        ("replicas", "two", 'found "two"; needs a whole number, 1 to 16'),
        ("replicas", True, "found true; needs a whole number, 1 to 16"),
        ("replicas", 1.5, "found 1.5; needs a whole number, 1 to 16"),
        ("replicas", float("nan"), "found nan; needs a whole number, 1 to 16"),
        pytest.param("replicas", 10**5000, "found a number of more than 60 digits; allowed: 1 to 16", id="huge"),
        ("slots", {"a": 1}, "found a mapping; needs a whole number, 1 to 64"),
        ("port", 65536, "found 65536; allowed: 1 to 65535"),
        ("models", "smollm2", 'found "smollm2"; needs a list'),
        ("models", [], "found an empty list; needs at least 1"),
        ("replicsa", 1, "unknown field; did you mean replicas?"),
        ("max-replicas", 1, "unknown field; did you mean replicas?"),
        ("gpu", 1, "unknown field; known: name, models, kind, replicas, slots, port"),
    ],
)
def test_a_wrong_field_of_a_pool_is_told_with_what_is_allowed(field, value, text):
    assert in_pool(**{field: value}) == {f"pools[0].{field}": text}


@pytest.mark.parametrize(
    ("fields", "path", "text"),
    [
        ({"name": 5}, "name", 'found 5; needs text, in quotes: "5"'),
        ({"name": "my model"}, "name", f'found "my model"; allowed: {MODEL_NAMES}'),
        ({"context": 8}, "context", "found 8; allowed: 16 to 10000000"),
        ({"source": 5}, "source", 'found 5; needs text, in quotes: "5"'),
        ({"source": "hff://a/b"}, "source", 'found "hff://a/b", an unknown scheme; did you mean hf://?'),
        ({"engine": "llamacpp"}, "engine", 'found "llamacpp"; needs a mapping like {kind: llamacpp}'),
        ({"engine": {"kind": "llama.cpp"}}, "engine.kind", 'found "llama.cpp"; did you mean llamacpp?'),
        ({"engine": {"kind": "vllm"}}, "engine.kind", 'found "vllm"; allowed: llamacpp, simulated'),
        ({"engine": {"args": {"thread": 1}}}, "engine.args.thread", "unknown field; did you mean threads?"),
        (
            {"engine": {"kind": "simulated", "args": {"threads": 1}}},
            "engine.args.threads",
            "unknown field; known: ttft_ms, tokens_per_second",
        ),
        (
            {"engine": {"kind": "simulated", "args": {"ttft_ms": -1}}},
            "engine.args.ttft_ms",
            "found -1; allowed: 0 to 3600000",
        ),
        (
            {"profile": {"requests_per_second_per_gpu": 0}},
            "profile.requests_per_second_per_gpu",
            "found 0; allowed: more than 0",
        ),
    ],
)
def test_a_wrong_field_of_a_model_is_told_with_what_is_allowed(fields, path, text):
    assert in_model(**fields) == {f"models[0].{path}": text}


@pytest.mark.parametrize(
    ("part", "path", "text"),
    [
        ({"gateway": {"host": "no host"}}, "gateway.host", 'found "no host"; allowed: an IPv4 address or a host name'),
        ({"gateway": {"port": "8080"}}, "gateway.port", 'found "8080"; needs a whole number, 1 to 65535; leave out'),
        ({"gateway": {"progress_timeout_seconds": 1}}, "gateway.progress_timeout_seconds", "found 1; allowed: 1.2 to"),
        ({"queue": {"kind": "sqs"}}, "queue.kind", 'found "sqs"; allowed: nats'),
        ({"budget": {}}, "budget.monthly_usd", "missing; for example monthly_usd: 35000"),
        ({"budget": {"monthly_usd": float("inf")}}, "budget.monthly_usd", "found inf; needs a number, more than 0"),
        ({"schedule": {}}, "schedule.timezone", "missing; for example timezone: America/New_York"),
        ({"schedul": {}}, "schedul", "unknown field; did you mean schedule?"),
        ({5: {}}, '"5"', "unknown field; known: models, pools, queue, gateway, schedule, budget"),
    ],
)
def test_a_wrong_part_is_told_with_what_is_allowed(part, path, text):
    assert mistakes({"models": [MODEL], "pools": [POOL], **part})[path].startswith(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("America/NewYork", 'found "America/NewYork", no known time zone; did you mean America/New_York?'),
        ("Mars", 'found "Mars", no known time zone; allowed: IANA names like America/New_York'),
        ("America", 'found "America", no known time zone; '),
        ("../../etc/passwd", 'found "../../etc/passwd", no known time zone; '),
        ("", 'found "", no known time zone; '),
        ("a\0b", 'found "a\\x00b", no known time zone; '),
    ],
)
def test_a_time_zone_must_exist(name, text):
    window = {"name": "day", "start": "08:00", "end": "20:00", "replicas": 1}
    found = mistakes({"models": [MODEL], "pools": [POOL], "schedule": {"timezone": name, "windows": [window]}})
    assert found["schedule.timezone"].startswith(text)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (("a", "08:00", "20:00"), ("b", "19:00", "23:00"), "overlap by 1 h;\nend a at 19:00 or start b at 20:00"),
        (("a", "19:00", "23:00"), ("b", "08:00", "20:00"), "overlap by 1 h;\nend b at 19:00 or start a at 20:00"),
        (("a", "22:00", "06:00"), ("b", "05:15", "07:00"), "overlap by 45 min;\nend a at 05:15 or start b at 06:00"),
        (("a", "08:00", "20:00"), ("b", "18:30", "09:00"), "overlap by 2 h 30 min;\nlet b last from 20:00 to 08:00"),
        (("a", "08:00", "20:00"), ("b", "12:00", "13:00"), "end a at 12:00 and add a window from 13:00, or remove b"),
        (("a", "08:00", "20:00"), ("b", "08:00", "13:00"), "start a at 13:00 or remove b"),
        (("a", "12:00", "20:00"), ("b", "08:00", "20:00"), "end b at 12:00 or remove a"),
        (("a", "08:00", "20:00"), ("b", "08:00", "20:00"), "overlap by 12 h;\nremove a or b"),
        (("a", "00:00", "24:00"), ("b", "23:00", "00:00"), "end a at 23:00 or remove b"),
    ],
)
def test_windows_that_overlap_are_told_how_to_part(first, second, text):
    assert in_windows(first, second)["schedule.windows[0]"].endswith(text)


def test_a_window_that_lasts_no_time_is_told_how_to_write_a_day():
    assert in_windows(("a", "08:00", "08:00")) == {
        "schedule.windows[0].end": 'found "08:00", the same as start; a whole day is "00:00" to "24:00"'
    }


def test_a_time_without_quotes_is_told_to_need_them():
    # YAML 1.1, which Python's parser reads, takes 08:30 for 8 * 60 + 30.
    found = in_windows(("a", yaml.safe_load("10:30"), "25:00"))
    assert found == {
        "schedule.windows[0].start": "found 630; needs text: hours and minutes in quotes, 00:00 to 23:59; "
        "for example 08:30",
        "schedule.windows[0].end": 'found "25:00"; allowed: hours and minutes in quotes, 00:00 to 24:00; '
        "for example 20:00",
    }


@given(st.lists(st.integers(0, 95), min_size=4, max_size=4))
def test_windows_are_told_to_overlap_exactly_when_they_share_a_minute(quarters):
    a, b, c, d = (f"{quarter // 4:02}:{quarter % 4 * 15:02}" for quarter in quarters)
    windows = [{"name": name, "start": s, "end": e, "replicas": 1} for name, s, e in (("a", a, b), ("b", c, d))]
    value = {"models": [MODEL], "pools": [POOL], "schedule": {"timezone": "UTC", "windows": windows}}

    def held(start: int, end: int) -> set[int]:
        return {(start + step) % 96 for step in range((end - start) % 96)}

    shared = held(*quarters[:2]) & held(*quarters[2:])
    if a == b or c == d or shared:
        found = mistakes(value)
        assert ("schedule.windows[0]" in found) == (bool(shared) and a != b and c != d)
    else:
        load_fleet(value)


def test_ports_that_collide_name_both_keys():
    value = {
        "models": [MODEL, {"name": "other"}],
        "pools": [{**POOL, "port": 8070}, {**POOL, "name": "west", "port": 65530}],
        "queue": {"port": 8222},
    }
    assert mistakes(value) == {
        "queue.monitor_port": "the queue's monitoring and the queue both take port 8222;\n"
        "set queue.monitor_port or queue.port to another port",
        "pools[0].port": "pool east takes ports 8070-8086, the gateway port 8080;\n"
        "set pools[0].port or gateway.port to another port",
        "pools[1].port": "found 65530; pool west needs 17 ports, so allowed: 1 to 65519",
    }


def test_pools_whose_ports_collide_name_both_keys():
    pools = [{**POOL, "replicas": 4, "port": 20000}, {**POOL, "name": "west", "port": 20003}]
    assert mistakes({"models": [MODEL], "pools": pools}) == {
        "pools[1].port": "pool west takes port 20003, pool east ports 20000-20003;\n"
        "set pools[1].port or pools[0].port to another port"
    }


def test_names_must_differ_also_as_names_of_files():
    models = [{"name": "org/a"}, {"name": "org/a"}, {"name": "org-a"}]
    assert mistakes({"models": models, "pools": [POOL, POOL]}) == {
        "models[1].name": '"org/a" is the name of models[0] too; rename one',
        "models[2].name": '"org-a" and "org/a" of models[0] make the same file name; rename one',
        "pools[1].name": '"east" is the name of pools[0] too; rename one',
    }


def test_a_pool_may_only_ask_for_models_of_the_fleet_and_once():
    assert in_pool(models=["smolm2", "smollm2", "smollm2", "gpt"]) == {
        "pools[0].models[0]": 'no model "smolm2" in the fleet; did you mean smollm2?',
        "pools[0].models[2]": '"smollm2" is in the list twice; remove one',
        "pools[0].models[3]": 'no model "gpt" in the fleet; allowed: smollm2',
    }


def test_a_pool_may_ask_for_a_model_that_has_other_mistakes():
    found = mistakes({"models": [{"name": "a", "contxt": 1}], "pools": [{**POOL, "models": ["a"]}]})
    assert list(found) == ["models[0].contxt"]


def test_long_values_are_cut_and_rows_limited():
    with pytest.raises(FleetError) as error:
        load_fleet({"models": [{"name": "x" * 10**6}] * 1000, "pools": [POOL]})
    text = str(error.value)
    assert "1000 mistakes" in text.splitlines()[0]
    assert text.splitlines()[-1] == "  and 950 more"
    assert max(map(len, text.splitlines())) < 250


def test_a_fleet_made_in_python_is_checked_alike():
    with pytest.raises(ValueError, match=r"pools\[0\]\.models\[0\]: no model \"other\" in the fleet"):
        Fleet.model_validate({"models": [MODEL], "pools": [{**POOL, "models": ["other"]}]})
    with pytest.raises(ValueError, match="unknown field; did you mean pools"):
        Fleet.model_validate({"models": [MODEL], "pols": [POOL]})


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["local", "nats", "llamacpp", "east", "smollm2", "08:00", "20:00", "UTC", 8080, "\ud800", ""])
)
SCHEMA = Fleet.model_json_schema()
KEYS = sorted({name for part in (SCHEMA, *SCHEMA["$defs"].values()) for name in part["properties"]})
keys = st.sampled_from(KEYS) | st.text(max_size=10)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6), max_leaves=30
)
pools = st.fixed_dictionaries(
    {"name": st.sampled_from(["east", "west"]), "kind": st.just("local")},
    optional=dict.fromkeys(("replicas", "slots", "port", "models"), trees),
)
nearly = st.fixed_dictionaries(
    {
        "models": st.lists(st.fixed_dictionaries({"name": st.just("a")}, optional={"engine": trees}), max_size=3),
        "pools": st.lists(pools | trees, max_size=3),
    },
    optional={"schedule": trees, "queue": trees, "gateway": trees, "budget": trees, "": trees},
)


@given(trees | nearly | st.dictionaries(st.integers() | st.none() | st.booleans() | keys, trees, max_size=3))
def test_whatever_a_file_holds_the_outcome_is_a_fleet_or_a_table_of_mistakes(value):
    told = ""
    try:
        fleet = load_fleet(value)
        assert load_fleet(fleet.model_dump()) == fleet
    except FleetError as error:
        told = str(error)
        rows = [line for line in told.splitlines()[2:] if line.startswith("  ") and not line.startswith("   ")]
        assert len(rows) == len(error.mistakes) >= 1
    assert told.encode("utf-8").isascii() or all(line.isprintable() for line in told.splitlines())


def test_a_value_that_is_nested_without_end_is_refused_like_any_other():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    endless: dict[str, object] = {}
    endless["models"] = endless
    assert "models[0]" in mistakes({"models": deep, "pools": [POOL]})
    assert "models" in mistakes(endless)
    assert "pools[0].replicas" in in_pool(replicas=deep)
