"""nginx as a reverse proxy: the yardstick. One worker, keep-alive on both sides, no buffering, no access log."""

from collections.abc import Iterator
from contextlib import contextmanager

from loadtests.bench.install import Program, debian
from loadtests.bench.processes import running
from loadtests.bench.systems.base import Place, Target, free_port

_PACKAGES = ("nginx", "nginx-common")
_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 32m;
  keepalive_timeout 75s;
  keepalive_requests 1000000;
  upstream model {{ server {upstream}; keepalive 256; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://model;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""


class Nginx:
    """Debian's nginx."""

    name = "nginx"

    def install(self) -> None:
        self._program()

    @contextmanager
    def running(self, place: Place) -> Iterator[Target]:
        program, port = self._program(), free_port()
        configuration = place.folder / "nginx.conf"
        upstream = place.upstream.removeprefix("http://")
        configuration.write_text(_CONFIGURATION.format(folder=place.folder, upstream=upstream, port=port))
        argv = [*program.argv, "-e", "stderr", "-p", str(place.folder), "-c", str(configuration)]
        url = f"http://127.0.0.1:{port}"
        with running(argv, log=place.folder / "nginx.log", ready_url=f"{url}/health") as pid:
            yield Target(name=self.name, url=url, pid=pid, version=program.version)

    def _program(self) -> Program:
        return debian("nginx", _PACKAGES)
