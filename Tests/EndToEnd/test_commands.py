"""The command line: version, help, environment, errors that name key, value and remedy, and `weir doctor`."""

from __future__ import annotations

import os
import re
import socket
import subprocess

import pytest
import yaml

from certificates import Authority
from weir_server import BINARY, REPOSITORY, free_ports

BAD_CONFIGURATION = 78  # EX_CONFIG
BAD_USAGE = 64  # EX_USAGE


def weir(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs the command to its end. Settings of the machine do not leak in."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WEIR_")}
    return subprocess.run([str(BINARY), *arguments], capture_output=True, text=True, timeout=20,
                          env={**clean, **environment})


@pytest.fixture
def configuration(tmp_path):
    """A function that writes a configuration with free ports and returns its path."""
    def write(**sections) -> str:
        media, ws, wss, http, https, hls, hls_tls, rtsp, rtsps = free_ports(9)
        settings = {
            "media": {"port": media}, "websocket": {"port": ws, "tls_port": wss},
            "http": {"port": http, "tls_port": https}, "hls": {"port": hls, "tls_port": hls_tls},
            "rtsp": {"listeners": [f"0.0.0.0:{rtsp}"], "tls_listeners": [f"0.0.0.0:{rtsps}"], "udp_port": 0},
            "state": {"dir": str(tmp_path / "state")},
        }
        for name, section in sections.items():
            settings[name] = {**settings.get(name, {}), **section}
        path = tmp_path / "weir.yaml"
        path.write_text(yaml.safe_dump(settings))
        return str(path)
    return write


def test_version_and_commit():
    done = weir("version")
    assert done.returncode == 0
    # A copy of the executable alone (WEIR_BINARY) does not know where it came from.
    commit = r"unknown|[0-9a-f]{40}\S*" if "WEIR_BINARY" in os.environ else r"[0-9a-f]{40}(-modified|, source tree)?"
    assert re.fullmatch(rf"weir \d+\.\d+\.\d+ \(commit ({commit})\)\n", done.stdout), done.stdout
    assert weir("--version").stdout == done.stdout


@pytest.mark.parametrize("arguments, words", [
    (["--help"], ["serve", "doctor", "version", "WEIR_MEDIA_PORT"]),
    (["serve", "--help"], ["--config", "--log-level", "--check"]),
    (["doctor", "--help"], ["--config", "status 1"]),
])
def test_help_names_what_there_is(arguments, words):
    done = weir(*arguments)
    assert done.returncode == 0
    assert all(word in done.stdout for word in words), done.stdout


def test_unknown_command_is_refused():
    done = weir("dance")
    assert done.returncode == BAD_USAGE and "dance" in done.stderr


def test_reference_configuration_is_good():
    done = weir("serve", "--config", str(REPOSITORY / "Config/weir.yaml"), "--check")
    assert (done.returncode, done.stdout) == (0, "The configuration is good.\n"), done.stderr


@pytest.mark.parametrize("text, words", [
    ("media:\n  prot: 31001\n", ["media.prot", "did you mean port", ":2"]),
    ("media:\n  port: seventy\n", ["media.port", "seventy", "number"]),
    ("media:\n  port: 70000\n", ["media.port", "70000", "65535"]),
    ("ice:\n  timeout: 30\n", ["ice.timeout", '"30"', "from 1s to 1h"]),
    ("log:\n  level: loud\n", ["log.level", "loud", "debug"]),
    ("nonsense:\n  a: 1\n", ["nonsense"]),
    ("media: [\n", ["weir.yaml"]),
])
@pytest.mark.parametrize("command", ["serve", "doctor"])
def test_bad_configuration_names_key_value_and_remedy(tmp_path, command, text, words):
    path = tmp_path / "weir.yaml"
    path.write_text(text)
    done = weir(command, "--config", str(path))
    assert done.returncode == BAD_CONFIGURATION, done
    assert all(word in done.stderr for word in words), done.stderr


def test_missing_configuration_file_is_named():
    done = weir("serve", "--config", "/nowhere/weir.yaml")
    assert done.returncode == BAD_CONFIGURATION and "/nowhere/weir.yaml" in done.stderr


def test_bad_environment_override_is_named(configuration):
    done = weir("serve", "--config", configuration(), "--check", WEIR_MEDIA_PORT="much")
    assert done.returncode == BAD_CONFIGURATION
    assert "WEIR_MEDIA_PORT" in done.stderr and "much" in done.stderr


def test_environment_overrides_the_file(start_server):
    port, = free_ports(1)
    server = start_server(environment={"WEIR_MEDIA_PORT": str(port), "WEIR_LOG_FORMAT": "json"})
    assert f'"port":"{port}"' in server.log_tail().replace(f'"port":{port}', f'"port":"{port}"')
    with pytest.raises(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", port))


def test_server_that_cannot_start_says_why(configuration, start_server):
    running = start_server()
    done = weir("serve", "--config", configuration(media={"port": running.media_port}))
    assert done.returncode == 1
    assert str(running.media_port) in done.stderr and "media" in done.stderr, done.stderr
    done = weir("serve", "--config", configuration(http={"port": running.http_port}))
    assert done.returncode == 1
    assert str(running.http_port) in done.stderr and "http.port" in done.stderr, done.stderr
    done = weir("serve", "--config", configuration(hls={"port": running.hls_port}))
    assert done.returncode == 1
    assert str(running.hls_port) in done.stderr and "hls.port" in done.stderr, done.stderr
    done = weir("serve", "--config", configuration(rtsp={"listeners": [f"0.0.0.0:{running.rtsp_port}"]}))
    assert done.returncode == 1
    assert str(running.rtsp_port) in done.stderr and "rtsp.listeners" in done.stderr, done.stderr


def findings(output: str) -> dict[str, list[str]]:
    """Lines of `weir doctor` by severity, each with its remedy."""
    found: dict[str, list[str]] = {"ok": [], "warning": [], "error": []}
    last = None
    for line in output.splitlines():
        if match := re.match(r"(ok|warning|error) +(.*)", line):
            last = found[match[1]]
            last.append(match[2])
        elif "→" in line and last:
            last[-1] += line.strip()
    return found


def test_doctor_finds_nothing_wrong_with_a_good_configuration(configuration, tmp_path):
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    Authority().write("good", chain, key)
    done = weir("doctor", "--config", configuration(
        tls={"certificate": str(chain), "key": str(key)}, media={"announce": ["203.0.113.7"]}))
    found = findings(done.stdout)
    assert done.returncode == 0 and not found["error"], done.stdout
    for subject in ("TCP", "UDP", "certificate", "candidate 203.0.113.7", "state directory"):
        assert any(subject in line for line in found["ok"]), (subject, done.stdout)
    assert re.search(r"\d+ checks, 0 errors, \d+ warnings\n$", done.stdout)


def test_doctor_warns_that_everyone_may_publish(configuration):
    found = findings(weir("doctor", "--config", configuration()).stdout)
    warning, = [line for line in found["warning"] if line.startswith("access")]
    assert "everyone" in warning and "publish" in warning and "→" in warning
    loopback = {"listen": "127.0.0.1"}
    done = weir("doctor", "--config", configuration(websocket=loopback, http=loopback))
    assert not any(line.startswith("access") for line in findings(done.stdout)["warning"]), done.stdout


def test_doctor_names_ports_in_use(configuration, start_server):
    running = start_server()
    done = weir("doctor", "--config", configuration(
        media={"port": running.media_port}, websocket={"port": running.ws_port}))
    errors = findings(done.stdout)["error"]
    assert done.returncode == 1
    for port, key in ((running.media_port, "media.port"), (running.ws_port, "websocket.port")):
        assert any(str(port) in line and "in use" in line and f"set {key}" in line for line in errors), done.stdout


def test_doctor_names_a_missing_and_a_foreign_certificate(configuration, tmp_path):
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    done = weir("doctor", "--config", configuration(tls={"certificate": str(chain), "key": str(key)}))
    assert done.returncode == 1
    assert any(str(chain) in line and "no file" in line and "→" in line for line in findings(done.stdout)["error"])
    Authority().write("one", chain, key)
    Authority().write("other", tmp_path / "other.pem", key)
    done = weir("doctor", "--config", configuration(tls={"certificate": str(chain), "key": str(key)}))
    assert done.returncode == 1
    assert any(str(chain) in line and "key" in line for line in findings(done.stdout)["error"]), done.stdout


def test_doctor_names_an_address_this_machine_does_not_have(configuration):
    done = weir("doctor", "--config", configuration(http={"listen": "192.0.2.250"}))
    assert done.returncode == 1
    assert any("192.0.2.250" in line and "no such address" in line for line in findings(done.stdout)["error"])
