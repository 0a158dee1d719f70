"""Which addresses may be reached, and that only a checked address is connected to."""

from __future__ import annotations

from collections.abc import Sequence

import httpcore
import pytest

from integrations.connectors.base import Reason, Refused
from integrations.connectors.guard import AddressRule, GuardedBackend, resolve
from integrations.connectors.mlflow import MlflowConnector, parse
from tests.integrations.connectors.recorder import impatient
from tests.integrations.servers import Answer, stub_server

NEVER = [
    "169.254.169.254",
    "169.254.1.1",
    "::ffff:169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "::",
    "::ffff:0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "ff02::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:1::1",
    "::7f00:1",
    "fec0::1",
]
OWN = [
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.1.1",
    "fd12::1",
    "::ffff:10.0.0.1",
]
PUBLIC = ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
UNROUTED = ["192.0.2.1", "198.18.0.1", "203.0.113.5", "2001:db8::1"]


@pytest.mark.parametrize("address", NEVER)
def test_metadata_and_other_odd_addresses_are_never_reached(address: str) -> None:
    assert not AddressRule.of().permits(address)
    assert not AddressRule.of(["0.0.0.0/0", "::/0"]).permits(address)


@pytest.mark.parametrize("address", OWN)
def test_own_networks_are_reached_only_when_allowed(address: str) -> None:
    assert AddressRule.of().permits(address)
    assert not AddressRule.of([]).permits(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached(address: str) -> None:
    assert AddressRule.of([]).permits(address)


@pytest.mark.parametrize("address", UNROUTED)
def test_addresses_that_are_not_public_need_to_be_allowed(address: str) -> None:
    assert not AddressRule.of().permits(address)


def test_a_single_network_can_be_allowed() -> None:
    rule = AddressRule.of(["10.20.0.0/16"])
    assert rule.permits("10.20.3.4")
    assert not rule.permits("10.21.0.1")
    assert not rule.permits("127.0.0.1")


@pytest.mark.parametrize("host", ["0x7f000001", "2130706433", "127.1", "localhost", "127.0.0.1"])
def test_other_ways_to_write_loopback_are_seen_through(host: str) -> None:
    backend = GuardedBackend(AddressRule.of([]))
    with pytest.raises(Refused) as refused:
        backend.connect_tcp(host, 80, timeout=1)
    assert refused.value.reason is Reason.ADDRESS_REFUSED


def test_one_forbidden_address_among_several_refuses_the_name() -> None:
    backend = GuardedBackend(AddressRule.of(), lambda host, port: ["127.0.0.1", "169.254.169.254"])
    with pytest.raises(Refused, match="address_refused"):
        backend.connect_tcp("mixed.example", 80, timeout=1)


def test_a_name_without_address_cannot_be_reached() -> None:
    def unknown(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    for resolver in (unknown, lambda host, port: []):
        with pytest.raises(httpcore.ConnectError):
            GuardedBackend(AddressRule.of(), resolver).connect_tcp("nowhere.example", 80)


def test_sockets_of_this_machine_are_refused() -> None:
    with pytest.raises(Refused):
        GuardedBackend(AddressRule.of()).connect_unix_socket("/run/docker.sock")


def test_the_connection_goes_to_the_address_that_was_checked_and_keeps_the_host_name() -> None:
    """A name that resolves to loopback first and to metadata later is looked up once per connection."""
    asked: list[str] = []

    def changing(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    with stub_server(lambda line, body, n: Answer(200, b"{}")) as stub:
        port = stub.url.rpartition(":")[2]
        connector = MlflowConnector(
            parse({"base_url": f"http://tracking.example.org:{port}"}), timing=impatient(), resolver=changing
        )
        assert connector.check().ok
        assert asked == ["tracking.example.org"]
        assert {headers["Host"] for _, headers in stub.seen} == {f"tracking.example.org:{port}"}
        assert connector.check().reason.startswith("address_refused: ")


def test_a_redirect_to_metadata_is_not_followed() -> None:
    away = Answer(302, headers=(("Location", "http://169.254.169.254/latest/meta-data"),))
    with stub_server(lambda line, body, n: away) as stub:
        connector = MlflowConnector(parse({"base_url": stub.url}), timing=impatient())
        assert connector.check().reason.startswith("redirected: ")
        assert len(stub.seen) == 1


def test_proxy_settings_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with stub_server(lambda line, body, n: Answer(200, b"{}")) as stub:
        assert MlflowConnector(parse({"base_url": stub.url}), timing=impatient()).check().ok


def test_the_operators_networks_reach_the_connection() -> None:
    with stub_server(lambda line, body, n: Answer(200, b"{}")) as stub:
        connector = MlflowConnector(parse({"base_url": stub.url}, allow_private=()), timing=impatient())
        assert connector.check().reason.startswith("address_refused: ")
        assert stub.seen == []


def test_the_system_resolver_gives_numeric_addresses_once() -> None:
    found = resolve("127.0.0.1", 80)
    assert found == ["127.0.0.1"]
