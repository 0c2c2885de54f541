"""Which options a Django project has: the documentation says the same."""

from pathlib import Path

from aserver.config import ADDRESS_OPTIONS, DECLARATIONS, Config
from aserver.django.option_places import ELSEWHERE, HERE

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto" / "django.md"


def test_each_has_its_place_or_a_reason() -> None:
    assert HERE.keys() | ELSEWHERE.keys() == DECLARATIONS.keys()
    assert not HERE.keys() & ELSEWHERE.keys()
    assert all(len(reason.split()) > 3 for reason in ELSEWHERE.values())


def test_those_that_are_left_out() -> None:
    """A new option of these kinds is left out; a new one of any other kind is not."""
    assert ELSEWHERE.keys() >= ADDRESS_OPTIONS
    logging = {name for name, each in DECLARATIONS.items() if each.section == "log"}
    assert HERE.keys() & logging == {"access_log_exclude"}
    assert {"backlog", "v6only", "lifespan", "loop", "threads", "proxy_headers"} <= HERE.keys()
    sections = {DECLARATIONS[name].section for name in ELSEWHERE}
    assert sections == {"bind", "limits", "log", "process", "proxy"}


def test_the_documentation_names_them_and_no_others() -> None:
    table = HOWTO.read_text().partition("| left out | why |")[2].partition("\n\n")[0]
    left_out = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    labels = {
        declaration.option.long if declaration.option.flags else "MODULE:OBJECT"
        for declaration in (DECLARATIONS[name] for name in ELSEWHERE)
    }
    assert set(left_out.replace(",", "").split()) - {"---"} == {f"`{label}`" for label in labels}


def test_nobody_has_to_give_them() -> None:
    assert Config.of(**{name: DECLARATIONS[name].default for name in ELSEWHERE}) == Config()
