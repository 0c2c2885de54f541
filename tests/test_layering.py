"""House rules that a machine can check: who imports whom, and that every module has its tests."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "aserver"
TESTS = Path(__file__).resolve().parent

# A module imports from the rows above its own only; in a package of ours, also from each other.
LAYERS = [
    {"types", "option_hints", "prefixes", "targets"},
    {"declarations", "hosts", "worker_seams", "wsgi_environ"},
    {
        "limit_options",
        "http2_options",
        "proxy_options",
        "tls_ciphers",
        "tls_options",
        "seams",
        "x509_names",
    },
    {"config", "escaping"},
    {
        "access_values",
        "access_notes",
        "access_exclusions",
        "endpoints",
        "forwarded",
        "networks",
        "tls_facts",
        "tls_hello",
    },
    {"logs", "addresses", "waiting", "throttle", "access_format", "http_states", "socket_facts"},
    {"bridges", "event_loops", "interfaces", "limits", "listener", "log_outputs"},
    {"access_log", "admission", "observer", "unix_sockets", "tls_contexts", "tls_transport"},
    {"engines"},
    {
        "context",
        "scope",
        "app",
        "lifespan",
        "sockets",
        "http_messages",
        "sendfile",
        "ws_inbox",
        "ws_messages",
    },
    {
        "file_response",
        "accepting",
        "connection_phases",
        "draining",
        "forwarding",
        "notify",
        "stopping",
        "ws_watch",
    },
    {"http_exchange", "engine_choice"},
    {"http_cycle"},
    {"ws_opening"},
    {"ws_cycle"},
    {"connection"},
    {"proxied", "redirecting"},
    {"entrances"},
    {"server"},
    {"running"},
    {""},  # the package itself
    {"options", "server_process"},
    {"testing"},
    {"cli", "django", "gunicorn", "pytest_plugin"},
    {"__main__"},
]
# What an engine must not know: IO, time, and where its words go.
NOT_FOR_ENGINES = {"asyncio", "ssl", "socket", "logging", "time", "select", "threading"}
# What is not installed with the package: which modules may import it.
EXTRAS = {
    "bridges": {"a2wsgi"},
    "django": {"asgiref", "channels", "django"},
    "gunicorn": {"gunicorn"},
}
# `__main__` is two lines that test_cli runs; `types` and the seams, `h2_wire` among them, are
# vocabulary, which everybody's tests use.
WITHOUT_TESTS = {"__init__", "__main__", "h2_wire", "seams", "types", "worker_seams"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}
LEVELS = {name: level for level, row in enumerate(LAYERS) for name in row}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """What a file imports: names, and whether they are ours."""
    package = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = [*package[: len(package) + 1 - node.level], *filter(None, [node.module])]
            if not node.level:
                yield node.module or "", False
            elif node.module:
                yield ".".join(parts), True
            else:
                for alias in node.names:
                    name = ".".join([*parts, alias.name])
                    yield (name if name in MODULES else ".".join(parts)), True


def package_of(name: str) -> str:
    """The package inside of ours; empty for the modules of our own."""
    first = name.partition(".")[0]
    return first if (PACKAGE / first).is_dir() and first else ""


def layer(name: str) -> int:
    return LEVELS[name.partition(".")[0]]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_one_way(name: str) -> None:
    for imported, ours in imports(MODULES[name]):
        if ours:
            both_inside = package_of(imported) == package_of(name) != ""
            assert both_inside or layer(imported) < layer(name), f"{name} imports {imported}"
        else:
            assert imported.partition(".")[0] != "aserver", "imports of our own are relative"


def test_imports_make_no_circle() -> None:
    graph = {
        name: {imported for imported, ours in imports(path) if ours}
        for name, path in MODULES.items()
    }
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name.startswith("engines.")))
def test_engines_know_no_io(name: str) -> None:
    imported = {each.partition(".")[0] for each, ours in imports(MODULES[name]) if not ours}
    assert not imported & NOT_FOR_ENGINES


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_are_the_same_for_type_checkers(name: str) -> None:
    text = MODULES[name].read_text()
    assert "TYPE_CHECKING" not in text
    assert "__future__" not in {imported for imported, _ in imports(MODULES[name])}


@pytest.mark.parametrize("name", sorted(name for name in MODULES if name != "pytest_plugin"))
def test_only_declared_dependencies(name: str) -> None:
    declared = {"h11", "h2", "httptools", "uvloop", "wsproto", *sys.stdlib_module_names}
    declared |= EXTRAS.get(package_of(name) or name, set())
    assert {each.partition(".")[0] for each, ours in imports(MODULES[name]) if not ours} <= declared


def test_every_layer_is_of_modules_that_exist() -> None:
    assert set(LEVELS) == {name.partition(".")[0] for name in MODULES}


def test_every_module_has_its_tests() -> None:
    tested = {path.stem.removeprefix("test_") for path in TESTS.rglob("test_*.py")}
    modules = {path.stem for path in MODULES.values()}
    assert modules - tested == WITHOUT_TESTS
