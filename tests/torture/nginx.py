"""nginx with the gateway's certificate and comparable limits, to run a scenario beside it."""

import re
import socket
import subprocess
import tempfile
import time
from pathlib import Path

CONFIG = """
daemon off;
pid {place}/pid;
error_log {place}/error.log crit;
worker_processes 2;
worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
  uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  client_header_timeout {head_s}s; client_body_timeout {request_s}s; send_timeout {idle_s}s; keepalive_timeout {idle_s}s;
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=4096;
    ssl_certificate {certs}/dexar.pem; ssl_certificate_key {certs}/dexar.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    root {place}/root;
  }}
}}
"""


class Nginx:
    """A context manager that has what `http2.tls` needs of a site: `ca` and `port`."""

    def __init__(self, site, body, timeouts=(10, 15, 60)):
        self.site, self.body, self.timeouts = site, body, timeouts
        self.ca = site.ca

    def __enter__(self):
        self.place = tempfile.TemporaryDirectory(prefix="nginx.")
        place = Path(self.place.name)
        place.chmod(0o755)
        (place / "root").mkdir()
        (place / "root" / "file").write_bytes(self.body)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.number = free.getsockname()[1]
        head_s, request_s, idle_s = self.timeouts
        names = {"place": place, "port": self.number, "certs": self.site.state / "certs"}
        (place / "nginx.conf").write_text(CONFIG.format(head_s=head_s, request_s=request_s, idle_s=idle_s, **names))
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-p", str(place), "-c", str(place / "nginx.conf")])
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.number), 1).close()
                return self
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.__exit__()
                    raise
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
        self.place.cleanup()

    def port(self, _brand):
        return self.number

    def memory_mb(self):
        """Resident memory of all processes; pages that they share count in each."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        total = 0
        for pid in [self.process.pid, *children]:
            total += int(re.search(r"^Rss(?:Anon):\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M).group(1))
        return total / 1024
