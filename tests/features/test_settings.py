"""Strict YAML in, frozen typed objects out; whatever does not fit is named, all of it at once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from features.errors import ConfigError
from features.settings import (
    MAX_YAML_BYTES,
    Part,
    Strict,
    Workspace,
    canonical,
    code_fingerprint,
    fingerprint,
    load_yaml,
    overlaid,
    override,
    resolve,
    validated,
)
from features.sources import load_source, source_fingerprint
from tests.worlds import CONFIGS, ROOT


class Inner(Strict):
    """A group of settings."""

    depth: int = Field(default=3, ge=1)
    rate: float = 0.1


class Outer(Strict):
    """Settings with a group."""

    name: str
    inner: Inner = Inner()


def load(folder: Path, text: str | bytes) -> dict[str, Any]:
    """``text`` read as a config file."""
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_yaml(path)


# --- YAML -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' stands twice"),
        ("a:\n  b: 1\n  b: 1\n", "line 3: key 'b' stands twice"),
        ("a: [{b: 1, b: 2}]\n", "line 1: key 'b' stands twice"),
        ("a: &x 1\nb: *x\n", "line 2: YAML aliases are not allowed"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "line 3: YAML aliases are not allowed"),
        ("1: a\n", "line 1: key 1 is no text"),
        ("no: a\n", "line 1: key False is no text"),
        ("a: [1, 2\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("- a\n", "expected a mapping of keys, found list"),
        ("", "expected a mapping of keys, found NoneType"),
        ("a: 2011-02-30\n", "cannot be read"),
        (b"a: \xff\n", "cannot be read"),
        ("a: " + "[" * 1_500 + "]" * 1_500, "cannot be read"),
        ("# " + "x" * MAX_YAML_BYTES, f"a config has at most {MAX_YAML_BYTES}"),
    ],
)
def test_yaml_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    """YAML that could mean two things, or none, is refused with file and line."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)
    assert str(tmp_path / "config.yaml") in str(caught.value)


def test_missing_yaml(tmp_path: Path) -> None:
    """A config that is not there is named."""
    with pytest.raises(ConfigError, match="nowhere.yaml: no such file"):
        load_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path)


# YAML folds line ends, among them some that are none elsewhere.
WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8)
TREES = st.dictionaries(
    WORDS,
    st.recursive(
        st.none() | st.booleans() | st.integers() | WORDS,
        lambda node: st.lists(node, max_size=3) | st.dictionaries(WORDS, node, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(max_examples=50)
@given(tree=TREES)
def test_yaml_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]
) -> None:
    """What is written as YAML is read back as it was."""

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, _: Any) -> bool:
            return True

    folder = tmp_path_factory.mktemp("yaml")
    text = yaml.dump(tree, Dumper=Plain, allow_unicode=True)
    assert load(folder, text) == tree


@given(text=st.text(max_size=60) | st.text("ab:[]{}&*!<>-#'\"\n 1", max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """No text makes the reader fail in another way than by a message."""
    folder = tmp_path_factory.mktemp("yaml")
    try:
        loaded = load(folder, text)
    except ConfigError:
        return
    assert isinstance(loaded, dict)


# --- overrides ------------------------------------------------------------------------------


def test_override_paths() -> None:
    """``a.b=c`` reaches into groups, makes them where missing, and leaves the original alone."""
    values = {"a": {"b": 1, "c": [1]}, "d": "x"}
    before = json.dumps(values)
    changed = override(
        values, ["a.b=2", "e.f.g=true", "d='12'", "a.c=[2, 3]", "h=", "i=x=y", "j={k: 1}", "l=null"]
    )
    assert changed == {
        "a": {"b": 2, "c": [2, 3]},
        "d": "12",
        "e": {"f": {"g": True}},
        "h": None,
        "i": "x=y",
        "j": {"k": 1},
        "l": None,
    }
    assert json.dumps(values) == before


def test_later_override_wins() -> None:
    """Assignments apply in their order."""
    assert override({}, ["a.b=1", "a.b=2"]) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("a", "expected a.b=value"),
        ("=1", "expected a.b=value"),
        ("a=[1", "the value is not YAML"),
        ("a={b: 1, b: 2}", "stands twice"),
        ("a=2011-02-30", "the value is not YAML"),
        ("a=" + "[" * 1_500, "the value is not YAML"),
        ("d.e=1", "'d' is not a group of settings"),
        ("d.e.f=1", "'d' is not a group of settings"),
        ("l.0=1", "'l' is not a group of settings"),
    ],
)
def test_override_is_refused(assignment: str, message: str) -> None:
    """An assignment that cannot be applied is named as it was typed."""
    with pytest.raises(ConfigError) as caught:
        override({"d": 1, "l": [1]}, [assignment])
    assert message in str(caught.value)


@given(tree=TREES, keys=st.lists(st.from_regex(r"[a-z]{1,4}", fullmatch=True), min_size=1), n=...)
def test_override_sets_one_value(tree: dict[str, Any], keys: list[str], n: int) -> None:
    """After an override the path holds the value; all other top keys are as before."""
    try:
        changed = override(tree, [f"{'.'.join(keys)}={n}"])
    except ConfigError:
        node: Any = tree
        for key in keys[:-1]:
            node = node[key] if isinstance(node, dict) else None
        assert not isinstance(node, dict)
        return
    node = changed
    for key in keys:
        node = node[key]
    assert node == n
    assert {k: v for k, v in changed.items() if k != keys[0]} == {
        k: v for k, v in tree.items() if k != keys[0]
    }


def test_overlay_reaches_leaves() -> None:
    """Nested and dotted changes mean the same; lists and ``None`` replace, groups are merged."""
    values = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": None}
    before = json.dumps(values)
    expected = {"a": {"b": 2, "c": [3]}, "d": None, "f": None, "g": {"h": {}}}
    nested = {"a": {"b": 2, "c": [3]}, "d": None, "g": {"h": {}}}
    dotted = {"a.b": 2, "a.c": [3], "d": None, "g.h": {}}
    assert overlaid(values, nested, "here") == overlaid(values, dotted, "here") == expected
    assert overlaid(values, {"a": {"b": 2}, "a.c": [3]}, "here")["a"] == expected["a"]
    assert json.dumps(values) == before
    for changes in ({"a": {"b": {"x": 1}}}, {"f.x": 1}, {"a.c.0": 1}):
        with pytest.raises(ConfigError, match="here: '[bfc]' is not a group of settings"):
            overlaid(values, changes, "here")


# --- typed settings -------------------------------------------------------------------------


def test_settings_are_frozen_and_strict() -> None:
    """Settings cannot be changed, extended or given infinities."""
    outer = Outer(name="x")
    with pytest.raises(ValidationError):
        outer.name = "y"
    with pytest.raises(ValidationError):
        Inner(rate=float("inf"))
    with pytest.raises(ValidationError):
        Inner(dept=3)  # type: ignore[call-arg]


def test_all_problems_are_listed_at_once() -> None:
    """Unknown keys, wrong types, values out of range and missing keys come in one error."""
    with pytest.raises(ConfigError) as caught:
        validated(
            Outer, {"nmae": "x", "inner": {"depth": 0, "rate": "fast", "more": 1}}, "file.yaml"
        )
    message = str(caught.value)
    assert message.startswith("file.yaml: 5 problem(s)")
    assert "nmae: unknown key; keys at the top are: inner, name" in message
    assert "inner.depth: Input should be greater than or equal to 1 (found '0')" in message
    assert "inner.rate: " in message
    assert "(found 'fast')" in message
    assert "inner.more: unknown key" in message
    assert "name: Field required" in message


def test_defaults_are_spelled_out() -> None:
    """A resolved config shows every default."""
    assert validated(Outer, {"name": "x"}, "file").model_dump() == {
        "name": "x",
        "inner": {"depth": 3, "rate": 0.1},
    }


def test_set_is_resolved() -> None:
    """``file.Class`` gives the class, built from its typed config."""
    part = resolve("features.sets", Part(use="orders.Orders", config={"windows_days": [7, 14]}))
    assert type(part).__module__ == "features.sets.orders"
    assert part.config.windows_days == (7, 14)
    assert part.config.season_days == 90


@pytest.mark.parametrize(
    "use",
    [
        "os.system",
        "orders",
        "orders.",
        ".Orders",
        "orders.Orders.build",
        "..tables.Tables",
        "sets.orders.Orders",
        "features.sets.orders.Orders",
        "tables.Tables",
        "orders/../tables.Tables",
        "nothing.Nothing",
        "orders.Nothing",
        "orders.View",
        "orders.FeatureColumn",
        "orders.OrdersConfig",
        "rfm.Strict",
        "__init__.Orders",
        "orders.Orders\n",
        "",
    ],
)
def test_names_outside_the_home_are_refused(use: str) -> None:
    """Only a part that a file of the home defines can be named: no path, no import, no helper."""
    with pytest.raises(ConfigError, match="use: "):
        resolve("features.sets", Part(use=use))


def test_unknown_file_names_the_known_ones() -> None:
    """A misspelt file is answered with the files there are."""
    with pytest.raises(ConfigError, match=r"has no file 'oders'; it has \[.*'orders'.*'rfm'"):
        resolve("features.sets", Part(use="oders.Orders"))


def test_config_of_a_part_is_checked() -> None:
    """A wrong key in a part's config is named with the part."""
    with pytest.raises(ConfigError, match="config of orders.Orders: 1 problem"):
        resolve("features.sets", Part(use="orders.Orders", config={"window_days": [30]}))


# --- the sources' YAML ----------------------------------------------------------------------


def source_problems(place: Workspace, **overrides: Any) -> str:
    """What is wrong with the declaration of Online Retail II after ``overrides``."""
    changed = {key.replace("__", "."): value for key, value in overrides.items()}
    with pytest.raises(ConfigError) as caught:
        load_source(place, "online_retail_II", changed)
    assert str(CONFIGS / "data" / "online_retail_II.yaml") in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted((CONFIGS / "data").glob("*.yaml")), ids=lambda p: p.stem)
def test_declared_sources_are_valid(path: Path, place: Workspace) -> None:
    """Every source in ``configs/data`` is a valid declaration under its own name."""
    source = load_source(place, path.stem, {})
    assert source.name == path.stem
    for feed in source.feeds.values():
        loaded = [column for column in feed.columns.values() if column.constant is None]
        assert all(column.category and column.purposes for column in loaded)


def test_source_that_contradicts_itself(place: Workspace) -> None:
    """Columns of a wrong type, rules on undeclared columns and odd tests are named."""
    message = source_problems(
        place,
        order_lines__known_time="learned",
        order_lines__columns__quantity__type="text",
        order_lines__rules__no_price__when=[{"column": "prize", "equals": 0}],
    )
    assert "known_time: 'learned' is no timestamp column" in message
    assert "column 'quantity' must be of type integer" in message
    assert "a rule tests 'prize', which is not declared" in message
    two_tests = [{"column": "unit_price", "equals": 0, "below": 1}]
    message = source_problems(place, order_lines__rules__no_price__when=two_tests)
    assert "give exactly one test, found ['below', 'equals']" in message


def test_source_override_to_nothing(place: Workspace) -> None:
    """``null`` in a pipeline's ``source`` group turns an optional part off."""
    assert (
        load_source(place, "online_retail_II", {"order_lines.repeats": None}).order_lines.repeats
        is None
    )


def test_source_under_a_wrong_name(place: Workspace) -> None:
    """The name inside the file is the file's name; other names have no path in them."""
    assert "expected 'online_retail_II' as the file is called" in source_problems(place, name="x")
    with pytest.raises(ConfigError, match="only letters, digits and _ are allowed"):
        load_source(place, "../online_retail_II", {})
    with pytest.raises(ConfigError, match="known: .*online_retail_II"):
        load_source(place, "online_retail_III", {})


# --- places and fingerprints ----------------------------------------------------------------


def test_workspace_prefers_arguments_to_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments win over variables, variables over folders below the current one."""
    monkeypatch.chdir(tmp_path)
    assert Workspace.locate(store=tmp_path / "mine").store == tmp_path / "mine"
    assert Workspace.locate().store == tmp_path / "workspace" / "store"
    monkeypatch.delenv("PERENNIAL_STORE")
    monkeypatch.setenv("PERENNIAL_DATA_DIR", "raw")
    assert Workspace.locate().store == tmp_path / "store"
    assert Workspace.locate().data == tmp_path / "raw"
    monkeypatch.delenv("PERENNIAL_DATA_DIR")
    assert Workspace.locate().data is None


@pytest.mark.parametrize("inside", [".", "keys", "a/b"])
@pytest.mark.parametrize("room", ["store", "registry"])
def test_keys_stay_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: str, inside: str
) -> None:
    """Keys inside the store or the registry are refused, links included."""
    (tmp_path / "link").symlink_to(tmp_path / room)
    for folder in (tmp_path / room / inside, tmp_path / "link" / inside):
        monkeypatch.setenv("PERENNIAL_KEYS_DIR", str(folder))
        with pytest.raises(ConfigError, match=f"lies inside the {room}"):
            Workspace.locate(store=tmp_path / "store", registry=tmp_path / "registry")


@settings(max_examples=50)
@given(tree=TREES)
def test_fingerprint_is_of_the_content(tree: dict[str, Any]) -> None:
    """Key order does not matter, a value does; the text is JSON."""
    turned = dict(reversed(tree.items()))
    assert fingerprint(tree) == fingerprint(turned)
    assert fingerprint({**tree, "one more key": 1}) != fingerprint(tree)
    assert json.loads(canonical(tree)) == tree


def test_fingerprint_of_settings() -> None:
    """Defaults given and defaults left out are the same settings; another value is another one."""
    spelled = Outer(name="x", inner=Inner(depth=3))
    assert fingerprint(spelled) == fingerprint(Outer(name="x"))
    assert fingerprint(Outer(name="x", inner=Inner(depth=4))) != fingerprint(spelled)
    assert fingerprint("a", "b") != fingerprint("ab")


def test_fingerprint_of_rules_in_their_order(place: Workspace) -> None:
    """The first rule that fits decides, so other rules first is another source."""
    source = load_source(place, "online_retail_II", {})
    rules = dict(reversed(source.order_lines.rules.items()))
    lines = source.order_lines.model_copy(update={"rules": rules})
    turned = source.model_copy(update={"order_lines": lines})
    assert source_fingerprint(turned, {}) != source_fingerprint(source, {})


def test_code_fingerprint_notices_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed, renamed or added file of a package changes its fingerprint; a cache does not."""
    package = tmp_path / "some_package"
    (package / "part").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    module = package / "part" / "a.py"
    module.write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    seen = [code_fingerprint("some_package")]
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "a.pyc").write_bytes(b"x")
    assert code_fingerprint("some_package") == seen[0]
    module.write_text("x = 2\n")
    seen.append(code_fingerprint("some_package"))
    module.rename(package / "part" / "b.py")
    seen.append(code_fingerprint("some_package"))
    (package / "c.py").write_text("")
    seen.append(code_fingerprint("some_package"))
    assert len(set(seen)) == 4


def test_importing_touches_nothing(tmp_path: Path) -> None:
    """Importing every module of the package writes no file, at home or here."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "features").rglob("*.py"))
        if path.name not in ("__main__.py", "__init__.py")
    ]
    assert "features.sets.rfm" in modules
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {', '.join(modules)}"
    subprocess.run(
        [sys.executable, "-B", "-c", code],
        check=True,
        cwd=here,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
    )
    assert list(home.rglob("*")) == list(here.rglob("*")) == []
