"""What `serve` refuses before it starts anything: each with the setting, the value and the fix."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tutelage.contracts.errors import ConfigurationError
from tutelage.contracts.load import validated
from tutelage.contracts.settings import Settings
from tutelage.preflight import addresses, free, sole


def settings(**changes: object) -> Settings:
    upstream = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
    return validated({"upstreams": {"gpt": upstream}, "routes": {"plain": {"teacher": "gpt"}}, **changes}, "test")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_folder_has_one_serve_at_a_time(tmp_path: Path):
    data_dir = tmp_path / "data"
    with (
        sole(data_dir),
        pytest.raises(ConfigurationError, match=r"served already, by process \d+: end it"),
        sole(data_dir),
    ):
        pass
    with sole(data_dir):
        pass


def test_a_folder_that_cannot_be_written_is_named_with_the_fix(tmp_path: Path):
    (file := tmp_path / "data").touch()
    with (
        pytest.raises(ConfigurationError, match=r"data_dir .*/data: .* name a folder that this user may write"),
        sole(file),
    ):
        pass


def test_every_address_of_a_serve_is_looked_at():
    found = dict.fromkeys(addresses(settings(gateway={"processes": 2, "metrics_port": 9100}), cores=4))
    assert [address for _, address in found] == ["0.0.0.0:8080", "127.0.0.1:8081", "0.0.0.0:9100", "0.0.0.0:9101"]
    without = addresses(settings(gateway={"processes": "auto", "metrics_port": 0}), cores=4)
    assert [setting for setting, _ in without] == ["gateway.bind", "admin.bind"]


@pytest.mark.parametrize("setting", ["gateway.bind", "admin.bind", "gateway.metrics_port"])
def test_a_taken_address_is_named_with_its_setting(taken: int, setting: str):
    free_address = "127.0.0.1:0"
    gateway: dict[str, object] = {"bind": free_address, "processes": 1, "metrics_port": 0}
    admin: dict[str, object] = {"bind": free_address}
    section, _, key = setting.partition(".")
    (gateway if section == "gateway" else admin)[key] = taken if key == "metrics_port" else f"127.0.0.1:{taken}"
    with pytest.raises(ConfigurationError) as refused:
        free(settings(gateway=gateway, admin=admin), cores=1, within_s=0.0)
    assert str(refused.value).startswith(f"{setting} 127.0.0.1:{taken}: Address already in use; end what listens there")


def test_an_address_of_another_host_is_refused():
    with pytest.raises(ConfigurationError, match=r"gateway.bind 192.0.2.1:8080: Cannot assign requested address"):
        free(settings(gateway={"bind": "192.0.2.1:8080"}), cores=1, within_s=0.0)


def test_metrics_on_the_data_plane_s_own_port_are_refused(taken: int):
    """Both sockets may share a port, so that the system would give half of the requests to each."""
    address = f"127.0.0.2:{taken}"
    gateway = {"bind": address, "processes": 1, "metrics_port": taken}
    with pytest.raises(ConfigurationError, match=rf"gateway.metrics_port {address}: .* name another address"):
        free(settings(gateway=gateway, admin={"bind": "127.0.0.1:0"}), cores=1, within_s=0)
