"""The servers that are compared: how each is started, alone on a port, and what of it is looked at.

One worker each, on one core, with as much history as it keeps by default or a thousand messages, without
logs, without signs of life: what is compared is holding and telling.

Knows: command lines, configurations. Never learns what is measured.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# How long a server may take to listen, and to end.
PATIENCE_S = 15

MODULES = "/usr/lib/nginx/modules"


class Peer:
    """A server in a directory of its own. Ends, by process id, with the `with` block."""

    name = ""
    note = ""
    # Commands it needs, and the Debian packages that bring them.
    commands: dict[str, str] = {}
    # What `encke bench` is told about it.
    bench: list[str] = []
    # A process for each connection: few of them must do.
    connections_max = None
    rate_max = None
    has_storms = True

    def __init__(self, connections, core, binaries):
        self.connections = min(connections, self.connections_max or connections)
        self.core = core
        self.binaries = binaries
        self.processes = []

    def __enter__(self):
        self.dir = Path(tempfile.mkdtemp(prefix=f"encke-compare-{self.name}-"))
        self.port = free_port()
        try:
            self.start()
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def start(self):
        raise NotImplementedError

    def run(self, *command):
        log = open(self.dir / "log", "ab")
        pinned = ["taskset", "-c", str(self.core), *map(str, command)]
        self.processes.append(subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def wait(self):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            dead = next((process for process in self.processes if process.poll() is not None), None)
            if dead:
                raise RuntimeError(f"{self.name} ended with {dead.returncode}: {self.log()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen after {PATIENCE_S} s: {self.log()}")

    def log(self):
        logs = [self.dir / "log", self.dir / "error.log", self.dir / "php-fpm.log"]
        return " ".join(log.read_text(errors="replace")[-800:] for log in logs if log.exists()).strip()

    def pids(self):
        return [process.pid for process in self.processes]

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def fill(self, template, **names):
        root = os.geteuid() == 0
        names |= {
            "DIR": self.dir,
            "PORT": self.port,
            "PEERS": HERE / "peers",
            "MODULES": MODULES,
            "DESCRIPTORS": descriptors(),
            "USER": "user root;" if root else "",
            "FPM_USER": "user = root\ngroup = root" if root else "",
        }
        text = (HERE / "peers" / template).read_text()
        for name, value in names.items():
            text = text.replace(f"@{name}@", str(value))
        path = self.dir / template
        path.write_text(text)
        return path

    @classmethod
    def missing(cls):
        """The Debian packages that are not there."""
        def has(command):
            return Path(command).exists() if command.startswith("/") else shutil.which(command)
        return [package for command, package in cls.commands.items() if not has(command)]


class Floor(Peer):
    name = "floor"
    note = "epoll and `send`, nothing else (`benches/floor/floor.c`)"
    commands = {"cc": "gcc"}
    bench = ["--transport", "ndjson", "--subscribe", "/channels/{channel}", "--publish", "/channels/{channel}"]

    def start(self):
        self.run(self.binaries / "floor", self.port)


class Encke(Peer):
    name = "encke"
    note = "this server; `heartbeat = \"0s\"`"
    bench = ["--preset", "encke", "--transport", "events"]

    def start(self):
        settings = self.dir / "encke.toml"
        settings.write_text('heartbeat = "0s"\n')
        self.run(self.binaries / "encke", "--listen", f"127.0.0.1:{self.port}", "--log-level", "error", "--config", settings)


class Nchan(Peer):
    name = "nchan"
    note = "nginx with nchan (`benches/compare/peers/nchan.conf`)"
    commands = {"nginx": "nginx-light", f"{MODULES}/ngx_nchan_module.so": "libnginx-mod-nchan"}
    bench = ["--preset", "nchan", "--transport", "events"]

    def start(self):
        self.run("nginx", "-c", self.fill("nchan.conf"), "-p", self.dir, "-e", self.dir / "error.log")


class Node(Peer):
    name = "node"
    note = "Node's own `http` (`benches/compare/peers/node.js`)"
    commands = {"node": "nodejs"}
    # Its URLs are those of nchan.
    bench = ["--preset", "nchan", "--transport", "events"]

    def start(self):
        self.run("node", HERE / "peers" / "node.js", self.port)


class Php(Peer):
    name = "php"
    note = "nginx and php-fpm, the article's approach (`benches/compare/peers/php/chat/backend.php`): polls, a process each"
    commands = {"nginx": "nginx-light", "php-fpm": "php-fpm"}
    # It forks for each who comes, one after the other; who comes faster is turned away with a 502.
    bench = ["--preset", "php", "--ramp", "20/s"]
    connections_max = 50
    rate_max = 0.5
    has_storms = False

    def start(self):
        # Those who publish need processes, too.
        fpm = self.fill("php-fpm.conf", CHILDREN=self.connections + 10)
        self.run(php_fpm(), *(["-R"] if os.geteuid() == 0 else []), "-F", "-y", fpm, "-p", self.dir)
        self.run("nginx", "-c", self.fill("php.conf"), "-p", self.dir, "-e", self.dir / "error.log")

    @classmethod
    def missing(cls):
        nginx = [] if shutil.which("nginx") else ["nginx-light"]
        return nginx + ([] if php_fpm() else ["php-fpm"])


PEERS = {peer.name: peer for peer in (Floor, Encke, Nchan, Node, Php)}


def php_fpm():
    """Debian has its version in its name."""
    found = sorted(Path("/usr/sbin").glob("php-fpm*"))
    return str(found[-1]) if found else shutil.which("php-fpm")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def descriptors():
    import resource
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]
