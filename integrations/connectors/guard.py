"""Decides which network addresses may be reached, and connects to exactly the address that was checked.

Takes a host name at the moment of connecting; gives a connected stream or ``Refused``. The name is resolved once, every
address it has is checked, and the connection goes to a checked address while Host header and TLS name stay the
original ones; so a name that changes its mind between two look-ups (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import httpcore

from integrations.connectors.base import Reason, Refused

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]

PRIVATE_NETWORKS = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
)
"""Loopback and private networks: allowed by default, since tracking servers mostly stand there."""

_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # "this host"
        "169.254.0.0/16",  # link-local, cloud metadata
        "192.0.0.0/24",  # protocol assignments, metadata of one cloud
        "100.100.100.200/32",  # metadata inside the shared address space
        "168.63.129.16/32",  # metadata on a public address
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "::/96",  # unspecified and IPv4-compatible; ::1 is let through below
        "64:ff9b::/96",  # NAT64 carries an IPv4 address that would escape the check
        "64:ff9b:1::/48",
        "2001::/32",  # Teredo, likewise
        "2002::/16",  # 6to4, likewise
        "fd00:ec2::/32",  # metadata inside the private range
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
)
_LOOPBACK_6 = ipaddress.ip_address("::1")


@dataclass(frozen=True, slots=True)
class AddressRule:
    """Which addresses may be reached: public ones and those in ``allow``, but never metadata services and the like."""

    allow: tuple[Network, ...]

    @classmethod
    def of(cls, networks: Iterable[str] | None = None) -> AddressRule:
        """The rule for CIDRs (None: loopback and private networks). Raises ``ValueError`` for a wrong CIDR."""
        return cls(tuple(ipaddress.ip_network(n) for n in (PRIVATE_NETWORKS if networks is None else networks)))

    def permits(self, address: str) -> bool:
        """Whether a numeric address may be reached; IPv4 written inside IPv6 is judged as the IPv4 address it is."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        if ip != _LOOPBACK_6 and any(ip in network for network in _NEVER):
            return False
        return ip.is_global or any(ip in network for network in self.allow)


def resolve(host: str, port: int) -> Sequence[str]:
    """Every numeric address of a host name, in the system's order. Raises ``OSError`` if there is none."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


class GuardedBackend(httpcore.NetworkBackend):
    """Opens connections to addresses the rule permits, and only to the very address that was checked."""

    def __init__(self, rule: AddressRule, resolver: Resolve = resolve) -> None:
        self._rule = rule
        self._resolve = resolver
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        fault: Exception = httpcore.ConnectError("the name has no address")
        for address in self._checked(host, port):
            try:
                return self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                fault = error
        raise fault

    def _checked(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError("the name could not be resolved") from error
        if not all(self._rule.permits(address) for address in addresses):
            raise Refused(Reason.ADDRESS_REFUSED)
        return addresses

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        raise Refused(Reason.ADDRESS_REFUSED)
