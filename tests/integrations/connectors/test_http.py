"""Patience, and certificates."""

from __future__ import annotations

import datetime as dt
import gzip
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from integrations.connectors.base import Reason, Refused
from integrations.connectors.guard import AddressRule
from integrations.connectors.http import Client, Limits, Timing
from tests.integrations.connectors.recorder import Naps
from tests.integrations.servers import Answer, stub_server

NOW = 1_800_000_000.0


def client(url: str, naps: Naps | None = None, *, ca_path: str = "", limits: Limits | None = None) -> Client:
    timing = Timing(now=lambda: NOW, sleep=naps or Naps(), chance=lambda: 1.0)
    return Client(
        url, headers={}, rule=AddressRule.of(), limits=limits or Limits(timeout=10), ca_path=ca_path, timing=timing
    )


def after(*answers: Answer) -> object:
    """The answers in turn, then a good one."""
    return lambda line, body, n: answers[n] if n < len(answers) else Answer(200, b'{"ok": 1}')


PASSING = {
    "408": Answer(408),
    "425": Answer(425),
    "429": Answer(429),
    "500": Answer(500),
    "502": Answer(502),
    "503": Answer(503),
    "504": Answer(504),
    "empty": Answer(200, b""),
    "not JSON": Answer(200, b"{"),
    "cut": Answer(200, b"{}", claim=9),
}


@pytest.mark.parametrize("name", PASSING)
def test_a_passing_trouble_is_waited_out(name: str) -> None:
    naps = Naps()
    with stub_server(after(PASSING[name])) as stub, client(stub.url, naps) as asking:
        assert asking.get_json("/x") == {"ok": 1}
        assert (asking.meter.requests, asking.meter.retries) == (2, 1)
    assert naps.taken == [0.3]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 418, 501, 505, 301])
def test_a_lasting_refusal_is_not_asked_again(status: int) -> None:
    with stub_server(after(Answer(status))) as stub, client(stub.url) as asking:
        with pytest.raises(Refused):
            asking.get_json("/x")
        assert asking.meter.requests == 1


def test_waits_double_and_end_after_six_tries() -> None:
    naps = Naps()
    with stub_server(lambda line, body, n: Answer(503)) as stub, client(stub.url, naps) as asking:
        with pytest.raises(Refused) as refused:
            asking.get_json("/x")
        assert asking.meter.requests == 6
    assert refused.value.reason is Reason.SERVER_ERROR
    assert naps.taken == pytest.approx([0.3, 0.6, 1.2, 2.4, 4.8])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999", 120.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2020 08:00:30 GMT", 0.0),
        ("soon", 0.3),
        ("-5", 0.3),
    ],
)
def test_retry_after_is_honoured_within_bounds(value: str, seconds: float) -> None:
    naps = Naps()
    busy = Answer(429, headers=(("Retry-After", value),))
    with stub_server(after(busy)) as stub, client(stub.url, naps) as asking:
        asking.get_json("/x")
    assert naps.taken == [seconds]


def test_fewer_tries_bound_the_servers_errors_but_not_its_being_busy() -> None:
    with stub_server(lambda line, body, n: Answer(500)) as stub, client(stub.url) as asking:
        with pytest.raises(Refused):
            asking.get_json("/x", tries=2)
        assert asking.meter.requests == 2
    with stub_server(after(Answer(429), Answer(429), Answer(429))) as stub, client(stub.url) as asking:
        assert asking.get_json("/x", tries=2) == {"ok": 1}


def test_a_small_bomb_is_stopped_at_the_limit_of_decoded_bytes() -> None:
    bomb = Answer(200, gzip.compress(b'{"x": "' + b"a" * 5_000_000 + b'"}'), (("Content-Encoding", "gzip"),))
    assert len(bomb.body) < 10_000
    limits = Limits(timeout=10, max_bytes=100_000)
    with stub_server(lambda line, body, n: bomb) as stub, client(stub.url, limits=limits) as asking:
        with pytest.raises(Refused) as refused:
            asking.get_json("/x")
        assert asking.meter.requests == 1
    assert refused.value.reason is Reason.TOO_LARGE


def test_compressed_answers_are_read() -> None:
    packed = Answer(200, gzip.compress(b'{"ok": 2}'), (("Content-Encoding", "gzip"),))
    with stub_server(lambda line, body, n: packed) as stub, client(stub.url) as asking:
        assert asking.get_json("/x") == {"ok": 2}


def test_a_file_over_its_cap_or_a_page_instead_of_it_is_refused() -> None:
    with stub_server(lambda line, body, n: Answer(200, b"y" * 50)) as stub, client(stub.url) as asking:
        assert asking.get_bytes("/x", cap=50) == b"y" * 50
        with pytest.raises(Refused, match="too_large"):
            asking.get_bytes("/x", cap=49)
    page = stub_server(lambda line, body, n: Answer(200, b" <HTML>"))
    with page as stub, client(stub.url) as asking, pytest.raises(Refused, match="login_page"):
        asking.get_bytes("/x", cap=50)


def test_nothing_of_an_error_text_is_repeated_but_mlflows_code() -> None:
    bodies = (
        b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "<b>x</b>"}',
        b'{"error_code": "<b>x</b>"}',
        b"<b>x</b>",
    )
    shown = []
    for body in bodies:
        with stub_server(lambda line, sent, n, body=body: Answer(400, body)) as stub, client(stub.url) as asking:
            with pytest.raises(Refused) as refused:
                asking.get_json("/x")
            shown.append(str(refused.value))
    assert "INVALID_PARAMETER_VALUE" in shown[0]
    assert not any("<b>" in text for text in shown)


def certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """A server side for 127.0.0.1 and tracking.example.org, and the file of the authority that signed it: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    names = [x509.DNSName("tracking.example.org"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), start, start.replace(year=2100)
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "both.pem").write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context, str(folder / "ca.pem")


def test_an_unknown_certificate_is_refused_and_an_own_authority_is_trusted(tmp_path: Path) -> None:
    context, ca_path = certificate(tmp_path)
    with stub_server(lambda line, body, n: Answer(200, b'{"ok": 3}'), tls=context) as stub:
        with client(stub.url) as asking:
            with pytest.raises(Refused) as refused:
                asking.get_json("/x")
            assert asking.meter.requests == 1
        assert refused.value.reason is Reason.TLS
        with client(stub.url, ca_path=ca_path) as asking:
            assert asking.get_json("/x") == {"ok": 3}


def test_https_to_a_server_without_tls_is_told_apart_from_a_server_that_is_down() -> None:
    with stub_server(lambda line, body, n: Answer()) as stub, client(stub.url.replace("http:", "https:")) as asking:
        with pytest.raises(Refused, match="tls: "):
            asking.get_json("/x")
        assert asking.meter.requests == 1


def test_the_certificate_is_checked_against_the_name_not_the_address(tmp_path: Path) -> None:
    context, ca_path = certificate(tmp_path)
    with stub_server(lambda line, body, n: Answer(200, b'{"ok": 4}'), tls=context) as stub:
        port = stub.url.rpartition(":")[2]
        for host, right in (("tracking.example.org", True), ("other.example.org", False)):
            asking = Client(
                f"https://{host}:{port}",
                headers={},
                rule=AddressRule.of(),
                limits=Limits(timeout=10),
                ca_path=ca_path,
                resolver=lambda host, port: ["127.0.0.1"],
            )
            with asking:
                if right:
                    assert asking.get_json("/x") == {"ok": 4}
                else:
                    with pytest.raises(Refused, match="tls"):
                        asking.get_json("/x")
