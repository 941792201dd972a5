"""The operator's paths from where they may be reached, and from where not: proxies, pages, names, certificates."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certificates import Authority, pem, private_pem

ADMIN = "a-token-of-the-operator"


async def get(url: str, headers: dict | None = None, **more) -> int:
    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers=headers or {}, **more) as got:
            await got.read()
            return got.status


@contextlib.asynccontextmanager
async def proxy(target: str, headers: dict):
    """A reverse proxy as careless as nginx without `proxy_set_header`: `Host` is that of the target."""
    async def forward(request: web.Request) -> web.Response:
        async with aiohttp.ClientSession() as session:
            async with session.get(target + request.path_qs, headers=headers) as got:
                return web.Response(status=got.status, body=await got.read())

    app = web.Application()
    app.router.add_get("/{path:.*}", forward)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


async def test_a_proxy_on_this_machine_is_not_the_operator(start_server):
    trusting = start_server({"proxies": {"trusted": ["127.0.0.0/8"]}, "http": {"admin_token": ADMIN}})
    async with proxy(trusting.http_url, {}) as url:
        assert await get(f"{url}/metrics") == 401
        assert await get(f"{url}/health") == 200
    assert await get(f"{trusting.http_url}/metrics", {"Authorization": f"Bearer {ADMIN}"}) == 200
    plain = start_server()
    async with proxy(plain.http_url, {"X-Forwarded-For": "203.0.113.7"}) as url:
        assert await get(f"{url}/metrics") == 403
    off = start_server({"http": {"admin_from_loopback": False}})
    async with proxy(off.http_url, {}) as url:
        assert await get(f"{url}/metrics") == 403
    assert await get(f"{off.http_url}/metrics") == 403


async def test_another_address_of_this_machine_is_not_loopback(start_server):
    server = start_server()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; chooses the address of an interface
        except OSError:
            pytest.skip("no interface but loopback")
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("no interface but loopback")
    assert await get(f"http://{own}:{server.http_port}/metrics", {"Host": "127.0.0.1"}) == 403
    assert await get(f"http://{own}:{server.http_port}/health") == 200


@pytest.mark.parametrize("host", [
    "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "127.1", "0.0.0.0", "[::2]", "2130706433", "",
    "127.0.0.1@evil.example", "evil.example#127.0.0.1"])
async def test_names_that_lead_here_are_not_ours(server, host):
    """DNS rebinding: a page's own name that an attacker lets point to 127.0.0.1."""
    assert await get(f"{server.http_url}/metrics", {"Host": f"{host}:{server.http_port}" if host else ""}) != 200
    assert await get(f"{server.http_url}/metrics", {"Host": f"localhost:{server.http_port}"}) == 200


class Operators(Authority):
    """Signs certificates of clients."""

    def client(self, directory, name: str, usage=ExtendedKeyUsageOID.CLIENT_AUTH):
        """(certificate file, key file)"""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        base = self._build(subject, key, is_authority=False)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(base.not_valid_before_utc)
            .not_valid_after(base.not_valid_after_utc)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False))
        paths = directory / f"{name}.pem", directory / f"{name}.key"
        paths[0].write_text(pem(builder.sign(self.key, hashes.SHA256())))
        paths[1].write_text(private_pem(key))
        return paths


def context(paths=None) -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if paths:
        made.load_cert_chain(*paths)
    return made


async def test_a_client_certificate_opens_the_operators_paths(start_server, tmp_path):
    operators, strangers = Operators(), Operators()
    authorities = tmp_path / "ca.pem"
    authorities.write_text(pem(operators.certificate))
    server = start_server({
        "http": {"admin_client_ca": str(authorities), "admin_from_loopback": False},
        "tls": {"check_interval": "1s"}})
    metrics = f"https://127.0.0.1:{server.https_port}/metrics"
    good = context(operators.client(tmp_path, "good"))
    assert await get(metrics, ssl=good) == 200
    # Nobody else's pages can use it.
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        assert await get(metrics, headers, ssl=good) == 403
    assert await get(metrics, {"Origin": f"https://127.0.0.1:{server.https_port}"}, ssl=good) == 200
    # Viewers have none, and are served.
    assert await get(metrics, ssl=context()) == 403
    assert await get(metrics.replace("metrics", "health"), ssl=context()) == 200
    for bad in (strangers.client(tmp_path, "stranger"),
                operators.client(tmp_path, "server", ExtendedKeyUsageOID.SERVER_AUTH)):
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await get(metrics, ssl=context(bad))
    # A connection says for itself who it is: many at once, with and without.
    statuses = await asyncio.gather(*(get(metrics, ssl=good if i % 2 else context()) for i in range(20)))
    assert statuses == [200 if i % 2 else 403 for i in range(20)]
    # The port of WCS does not ask.
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"https://127.0.0.1:{server.wss_port}/", ssl=context()):
            pass
    # Another authority takes its place without a restart.
    authorities.write_text(pem(strangers.certificate))
    other = context((tmp_path / "stranger.pem", tmp_path / "stranger.key"))
    for _ in range(100):
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            if await get(metrics, ssl=other) == 200:
                break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError(server.log_tail(10))
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await get(metrics, ssl=good)


async def test_a_resumed_tls_session_keeps_its_certificate(start_server, tmp_path):
    operators = Operators()
    authorities = tmp_path / "ca.pem"
    authorities.write_text(pem(operators.certificate))
    server = start_server({"http": {"admin_client_ca": str(authorities), "admin_from_loopback": False}})

    def ask(made: ssl.SSLContext, session=None):
        with socket.create_connection(("127.0.0.1", server.https_port), timeout=10) as raw:
            with made.wrap_socket(raw, session=session) as tls:
                tls.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = b""
                while part := tls.recv(65536):
                    answer += part
                return int(answer.split()[1]), tls.session

    def both(made: ssl.SSLContext) -> list[int]:
        first, session = ask(made)
        return [first, ask(made, session)[0]]

    good = context(operators.client(tmp_path, "good"))
    assert await asyncio.to_thread(both, good) == [200, 200]
    good.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await asyncio.to_thread(both, good) == [200, 200]
    assert await asyncio.to_thread(both, context()) == [403, 403]


def test_bad_authorities_keep_the_server_from_starting(tmp_path):
    from weir_server import BINARY
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    for path in (empty, tmp_path / "missing.pem"):
        config = tmp_path / "weir.yaml"
        config.write_text(f"http: {{admin_client_ca: {path}}}\nstate: {{dir: {tmp_path}/state}}\n")
        ended = subprocess.run(
            [BINARY, "serve", "--config", config], capture_output=True, text=True, timeout=20, check=False)
        assert ended.returncode != 0 and "http.admin_client_ca" in ended.stderr and str(path) in ended.stderr
