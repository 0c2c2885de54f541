"""What Daphne's own tests assert and aserver does otherwise stands in the guide, with its reason.

The tests beside this one say "on purpose" where they hold such a case.
"""

import re

import pytest

from tests.processes import ROOT
from tests.test_docs import tables
from tests.test_docs_migration import REQUESTS, guide

HEAD = ["Daphne", "aserver", "why, and what to do"]
# Of each row, by how it begins, the tests that see it done: at a server, or at the part of it whose
# business it is. Those of REQUESTS are seen by `test_rows_from_daphne_hold`.
SEEN = {
    # Start, stop, exit
    "every failure is exit code 1": "cli:each_failure_is_one_line_and_a_code",
    "stops at once": "lifecycle:a_request_in_progress_is_served_and_a_stream_without_end_is_cut "
    "lifecycle_websocket:every_client_is_told_1012_and_every_application_before_the_lifespan",
    "SIGUSR1 kills": "access_log:sigusr1_reopens_the_log",
    "SIGHUP kills": "running:hangup_loads_certificates_anew_where_there_is_tls "
    "notify:hangup_reopens_logs_and_loads_certificates",
    "the lifespan protocol": "lifespan:what_the_application_sees lifespan:off_never_asks",
    "one failed address": "cli:a_busy_port",
    "SIGINT is ignored": "daphne/differences:"
    "an_interrupt_ends_it_though_it_was_ignored_at_the_start",
    "a `KeyboardInterrupt`": "running:application_that_raises_what_ends_a_process",
    "of stopping, the log": "daphne/log_lines:start_up_and_access "
    "lifecycle:it_says_what_it_waits_for",
    # Listening
    "`-b localhost`": "sockets:localhost sockets:a_name_is_all_its_addresses_on_one_port",
    "a unix socket has a file": "cli:"
    "a_killed_servers_unix_socket_is_replaced_and_a_live_ones_is_not",
    "a socket file without its lock": "unix_sockets:a_stale_socket_is_replaced "
    "unix_sockets:a_live_socket_is_refused_and_kept",
    "`--fd` of IPv6": "daphne/differences:addresses_at_sockets_of_any_kind",
    "of `-u`, or `--fd`, given twice": "options:an_address_given_twice_is_a_mistake "
    "daphne/command_line:what_daphne_takes_and_is_a_mistake_here addresses:targets",
    "`-u ''`": "daphne/command_line:what_daphne_takes_and_is_a_mistake_here "
    "forwarded:what_is_no_header_name_is_a_mistake logs:a_format_that_is_none",
    "`-u FILE:mode=600`": "addresses:an_endpoint_is_no_path "
    "daphne/command_line:what_daphne_takes_and_is_a_mistake_here",
    "`-b 0`": "addresses:an_address_that_cannot_be_understood "
    "daphne/command_line:what_daphne_takes_and_is_a_mistake_here",
    "50 connections wait": "sockets:each_address_has_its_backlog "
    "accepting:the_backlog_is_the_kernels",
    "connections, and requests": "admission:no_more_connections_are_served_than_allowed "
    "admission:most_connections admission:no_more_calls_are_at_work_than_allowed",
    # Requests
    "none, or two, `Host`": "engines/guard:refused engines/guard:no_host "
    "daphne/http_request:no_host",
    "any method": "daphne/http_request:methods_that_are_not_served engines/guard:connect",
    "the application is called": "daphne/differences:an_application_is_called_before_the_body "
    "daphne/http_request:a_body_that_comes_in_pieces",
    "`request_buffer_size`": "engines/h1_limits:buffer_of_body "
    "engines/h1_limits:large_body_in_large_pieces",
    "`100 Continue`": "engines/h1_responses:continue_is_sent_when_asked_for "
    "http_exchange:continue_is_asked_for_by_receive",
    "uploads have no limit": "engines/h1_limits:limit engines/guard:body_size",
    "a request line and its headers": "engines/h1_limits:limit engines/h1_limits:default_limit "
    "daphne/http_request:a_hundred_large_headers",
    "idle for 60 seconds": "connection:keep_alive connection:head_that_drips "
    "connection:upload_that_drips",
    "HTTP/1.0 never keeps": "engines/h1_responses:old_client_that_keeps_alive "
    "engines/h1_responses:old_client",
    "the byte 0x85": "daphne/http_request:what_is_a_control_character_to_daphne_is_half_a_letter "
    "daphne/http_request:control_characters_in_values",
    "a client that ends its sending": "connection:half_closed_client_is_answered",
    "HTTP/2 over TLS only": "daphne/scenarios:all_protocols_on_one_port "
    "clients_tls:without_http2 docs_http2:preface_where_http2_is_off",
    # The scope
    '`asgi` is `{"version": "3.0"}`': "daphne/http_request:the_simplest_request",
    "an application of ASGI 2": "bridges:asgi_2",
    "no other keys": "daphne/http_request:the_simplest_request "
    "scope:state_is_there_only_if_there_is_one",
    "`client` and `server` are lists": "daphne/http_request:addresses",
    "over a unix socket": "daphne/differences:addresses_at_sockets_of_any_kind",
    "headers are grouped": "daphne/http_request:any_headers",
    "in a WebSocket's scope": "daphne/differences:what_a_websocket_says_stays_as_it_was",
    "a WebSocket's scope has no `scheme`": "daphne/websocket:the_simplest_websocket "
    "daphne/websocket:proxies",
    "subprotocols are": "daphne/differences:what_a_websocket_says_stays_as_it_was",
    "`Daphne-Root-Path` is": "daphne/http_request:the_root_path_of_anybody_is_a_header",
    # Responses
    "no `Date`": "daphne/http_response:the_simplest_response",
    "`Server: daphne`": "daphne/http_response:the_name_of_the_server",
    "the reason of 422": "daphne/differences:reasons_are_the_registered_ones",
    "a response of one message": "engines/h1_responses:length_is_found_out",
    "error pages are HTML": "engines/h1_wire:refusal_says_why_and_closes",
    "an exception is answered": "http_cycle:failure_before_the_head",
    "an application that returns": "http_cycle:return_without_a_response",
    "an exception in a response that has begun": "connection:failure_in_a_chunked_response "
    "daphne/differences:behind_an_exception_in_a_response_all_is_as_before",
    "a wrong `Content-Length`": "http_exchange:wrong_length_is_a_500_and_logged_once "
    "http_exchange:wrong_length_of_a_stream",
    "a body is sent to HEAD": "engines/h1_responses:head_has_no_body",
    "`send()` to a client": "server_requests:"
    "a_sender_that_does_not_listen_is_told_by_its_next_send",
    "a message is wrong": "daphne/http_response:a_wrong_message "
    "daphne/http_response:an_application_that_catches_the_error_may_do_better",
    # Timeouts
    "`-t` is the time": "http_cycle:application_that_does_not_respond_in_time "
    "http_cycle:stream_longer_than_the_timeout",
    "a response that is out of time": "http_cycle:stream_longer_than_the_timeout "
    "connection:failure_in_a_response_that_ends_with_the_connection",
    "deadlines are looked at": "server:there_is_one_a_second",
    "0 for `--websocket_timeout`": "limits:websocket_without_limits "
    "ws_opening_ends:no_connect_timeout ws_watch:no_idle_and_no_age_limit",
    "numbers below -1": "daphne/command_line:no_number_is_below_minus_one "
    "daphne/command_line:what_daphne_takes_and_is_a_mistake_here",
    "behind an exception": "daphne/differences:behind_an_exception_in_a_response_all_is_as_before",
    # WebSockets
    "version 8 and 13": "engines/h1_upgrade_denied:other_version_is_told_which_is_spoken",
    "a handshake by POST": "engines/ws_handshake:only_a_get_is_a_handshake "
    "engines/h1_upgrade_denied:upgrade_that_connection_does_not_name_is_none",
    "a subprotocol that is no token": "engines/ws_handshake:"
    "subprotocols_that_are_no_list_of_tokens "
    "engines/ws_handshake:subprotocols_are_in_the_clients_order",
    "a refused handshake": "daphne/websocket:a_refusal "
    "clients_websocket_refused:behind_a_refusal_the_same_connection_opens_a_websocket",
    "waiting in vain": "ws_opening_ends:late_application",
    "the `headers` of": "ws_opening:headers_of_the_acceptance",
    "the `reason` of": "clients_websocket_ends:"
    "a_client_hears_every_code_and_reason_of_the_application",
    "`websocket.http.response`": "clients_websocket_refused:websockets_sees_a_denial_and_its_body",
    "empty messages": "daphne/websocket:any_messages_from_the_application",
    "a message with neither": "daphne/websocket:messages_that_are_none",
    "a subprotocol that the client": "clients_websocket:"
    "a_subprotocol_that_was_not_offered_is_left_out_and_in_the_log",
    "`send()` behind the end": "ws_cycle_end:message_behind_its_own_close "
    "ws_cycle_leniency:it_never_raises_however_much_is_sent",
    "a close without a code": "clients_websocket_ends:a_close_frame_without_a_code_is_1005",
    "a close of the client's": "ws_cycle_end:client_closes",
    "bad UTF-8": "clients_websocket_ends:who_breaks_the_protocol_is_told_so "
    "lifecycle_websocket:messages_and_frames_that_are_too_large_are_1009",
    "an exception, once accepted": "clients_websocket_ends:"
    "an_application_that_raises_closes_with_1011",
    "returning, once accepted": "clients_websocket_ends:"
    "an_application_that_returns_closes_with_1000",
    "no compression": "clients_websocket_deflate:every_set_of_parameters_for_compression_works "
    "clients_websocket_deflate:nothing_is_compressed_where_that_is_switched_off",
    "what the application has not read": "ws_cycle_backpressure:messages_that_wait_are_counted",
    "a ping when nothing": "ws_watch:pings_come_on_time_whoever_talks",
    "no pong": "lifecycle_websocket:"
    "a_client_that_does_not_answer_pings_is_lost_and_one_that_does_is_not",
    "`--websocket_timeout`": "lifecycle_websocket:"
    "an_old_websocket_is_closed_with_1001_and_an_undecided_application_is_a_503",
    "`--websocket_connect_timeout -1`": "limit_options:minus_one_is_no_limit "
    "ws_opening_ends:no_connect_timeout",
    "`disconnect` has `code`": "clients_websocket_ends:"
    "the_application_hears_every_code_and_reason_of_a_client",
    # Proxy headers
    "`--proxy-headers` believes": "daphne/http_request:proxies_are_not_believed",
    "of `X-Forwarded-For`": "daphne/http_request:of_several_proxies "
    "forwarding:from_the_right_to_the_first_that_is_not_trusted",
    "`1.2.3.4:55`": "forwarding:ports",
    "any `X-Forwarded-Proto`": "forwarding:schemes",
    "for WebSockets the scheme": "forwarding:a_websocket_has_schemes_of_its_own "
    "daphne/websocket:proxies",
    "a scheme only counts": "daphne/http_request:proxies_that_are_believed forwarding:ports",
    "of several `X-Forwarded-Port`": "forwarding:a_port_is_that_of_its_address "
    "forwarding:of_several_ports_that_of_one_proxy_is_the_last",
    "`::ffff:192.0.2.1`": "forwarding:from_the_right_to_the_first_that_is_not_trusted "
    "hosts:peers_as_proxies_write_them",
    "`--proxy-headers-host X_Real`": "forwarded:a_header_that_never_comes_is_a_mistake "
    "daphne/command_line:what_daphne_takes_and_is_a_mistake_here",
    "`Daphne-Root-Path` works": "daphne/http_request:the_root_path_of_a_proxy "
    "daphne/http_request:the_root_path_of_no_proxy",
    # Logs
    "an access line for": "daphne/differences:lines_of_the_access_log",
    "none for a client that leaves": "daphne/differences:"
    "who_leaves_before_the_response_has_the_line_of_what_is_made_for_him",
    "`--access-log ''`": "daphne/log_lines:without_an_access_log_standard_output_is_empty",
    "no line for what": "daphne/differences:lines_of_the_access_log",
    "lines are written at once": "access_log:lines_are_written_together_a_tenth_of_a_second_later",
    "the log file stays": "access_log:sigusr1_reopens_the_log",
    "`--log-fmt` and `-v`": "logs:only_our_loggers_are_touched",
    "loggers `daphne.cli`": "daphne/differences:lines_of_the_access_log",
    "`Configuring endpoint": "daphne/log_lines:start_up_and_access",
    "`-v 4` is": "daphne/command_line:what_is_wrong_is_one_line",
}


def differences() -> dict[str, list[str]]:
    """The other cells of each row of the guide, by the first."""
    found = [rows for rows in tables(guide("daphne")) if rows[0] == HEAD]
    assert len(found) > 5
    return {row[0]: row[1:] for rows in found for row in rows[1:]}


def test_every_difference_is_seen_by_some_test() -> None:
    rows = differences()
    unseen = [row for row in rows if row not in REQUESTS and not row.startswith(tuple(SEEN))]
    assert unseen == []


@pytest.mark.parametrize("row", SEEN)
def test_and_by_this_one(row: str) -> None:
    """Of a test that has another name now: is it still about that?"""
    assert sum(each.startswith(row) for each in differences()) == 1
    for seen in SEEN[row].split():
        path, _, name = seen.rpartition(":")
        folder, _, module = path.rpartition("/")
        text = (ROOT / "tests" / folder / f"test_{module}.py").read_text()
        assert re.search(rf"^(?:async )?def test_{name}\(", text, re.MULTILINE), seen


def test_every_difference_has_its_reason() -> None:
    without = [row for row, (_, reason) in differences().items() if not reason]
    assert without == []
