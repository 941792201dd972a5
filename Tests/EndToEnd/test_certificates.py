"""Certificates of wss and https: read again when they change, kept when the new ones are bad; the development one."""

from __future__ import annotations

import asyncio
import ssl
import time

import pytest
import websockets
from cryptography import x509

from certificates import Authority

CHECK_SECONDS = 1
NOTICED_WITHIN_SECONDS = 10.0


def served_serial(port: int) -> int:
    """Serial number of the certificate that a TLS handshake on the port shows."""
    text = ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
    return x509.load_pem_x509_certificate(text.encode()).serial_number


async def wait_serial(server, wanted: int) -> None:
    """Waits until both TLS listeners show the certificate."""
    end = time.monotonic() + NOTICED_WITHIN_SECONDS
    while (shown := [served_serial(port) for port in (server.wss_port, server.https_port)]) != [wanted, wanted]:
        assert time.monotonic() < end, f"{shown} are served, not {wanted}\n{server.log_tail(10)}"
        await asyncio.sleep(0.2)


@pytest.fixture
def own_certificate(tmp_path):
    """(authority, chain file, key file, serial number of the certificate in them)"""
    authority = Authority()
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    return authority, chain, key, authority.write("first", chain, key)


@pytest.fixture
def tls_server(start_server, own_certificate):
    _, chain, key, _ = own_certificate
    return start_server({"tls": {"certificate": str(chain), "key": str(key), "check_interval": f"{CHECK_SECONDS}s"}})


async def test_new_certificate_is_served_without_a_restart(tls_server, own_certificate):
    authority, chain, key, first = own_certificate
    assert [served_serial(port) for port in (tls_server.wss_port, tls_server.https_port)] == [first, first]
    trust = ssl.create_default_context(cadata=chain.read_text())
    process = tls_server.process.pid
    async with websockets.connect(f"wss://127.0.0.1:{tls_server.wss_port}/", ssl=trust) as before:
        second = authority.write("second", chain, key)
        await wait_serial(tls_server, second)
        await asyncio.wait_for(await before.ping(), 5)  # who is connected stays so
        # A client that trusts the authority sees the whole chain and the right names.
        async with websockets.connect(f"wss://localhost:{tls_server.wss_port}/", ssl=trust):
            pass
    assert tls_server.process.pid == process and tls_server.is_running
    assert "Certificate read again" in tls_server.log_tail()


async def test_bad_certificate_leaves_the_old_one_in_use(tls_server, own_certificate):
    authority, chain, key, first = own_certificate
    good = (chain.read_text(), key.read_text())
    foreign_chain, _, _ = authority.issue("of another key")
    for number, broken in enumerate(("not a certificate\n", "", foreign_chain), start=1):
        chain.write_text(broken)
        end = time.monotonic() + NOTICED_WITHIN_SECONDS
        while tls_server.log_tail().count("the old one stays in use") < number:
            assert time.monotonic() < end, f"nothing said about {broken[:20]!r}\n{tls_server.log_tail(10)}"
            await asyncio.sleep(0.1)
        assert [served_serial(port) for port in (tls_server.wss_port, tls_server.https_port)] == [first, first]
    chain.unlink()
    await asyncio.sleep(2 * CHECK_SECONDS)
    assert served_serial(tls_server.wss_port) == first
    chain.write_text(good[0])
    key.write_text(good[1])
    await wait_serial(tls_server, authority.write("mended", chain, key))


async def test_development_certificate_outlives_a_restart(start_server, tmp_path):
    state = {"state": {"dir": str(tmp_path / "kept")}}
    first = start_server(state)
    serial = served_serial(first.wss_port)
    assert served_serial(first.https_port) == serial
    assert first.stop() == 0
    again = start_server(state)
    assert [served_serial(port) for port in (again.wss_port, again.https_port)] == [serial, serial]
    elsewhere = start_server()
    assert served_serial(elsewhere.wss_port) != serial
    assert ((tmp_path / "kept" / "development-key.pem").stat().st_mode & 0o777) == 0o600
