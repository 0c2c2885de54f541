"""Which options of the server a Django project has, and where it says the others.

There is one list for all: `runserver`, the setting ASERVER and the test cases. It is made from the
declarations, so that a new address, or a new way to log, is not an option here by oversight.
"""

from ..config import ADDRESS_OPTIONS, APPLICATION_OPTIONS, DECLARATIONS
from ..declarations import Declaration

_ADDRESS = "runserver's argument, or the test case, says where to listen"
_APPLICATION = "the setting ASGI_APPLICATION names the application"
_LOGGING = "the setting LOGGING says what is logged, how and where"
_PROXY_PROTOCOL = "the PROXY protocol is spoken on addresses of its own"
# Options that every command of Django's has.
DJANGOS = {"verbosity"}


def _reason(name: str, declaration: Declaration) -> str:
    """Why it has no place here; empty if it has one."""
    if name == "graceful_timeout":
        return "who develops or tests does not wait for requests in progress"
    if name in DJANGOS:
        return "it is an option of every command of Django's"
    if name.startswith("proxy_protocol_"):
        return _PROXY_PROTOCOL
    if name in ADDRESS_OPTIONS:
        return _ADDRESS
    if name in APPLICATION_OPTIONS or name == "interface":
        return _APPLICATION
    if declaration.section == "log" and name != "access_log_exclude":
        return _LOGGING
    return ""


ELSEWHERE = {
    name: reason
    for name, declaration in DECLARATIONS.items()
    if (reason := _reason(name, declaration))
}
HERE: dict[str, Declaration] = {
    name: declaration for name, declaration in DECLARATIONS.items() if name not in ELSEWHERE
}
