"""A hub on this machine that answers as huggingface_hub expects, and misbehaves on demand."""

import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.evaluate.hub_layout import CMTEB_TASKS, MTEB_TASKS

MODEL_COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""Of the model org/tiny."""
LFS = (".safetensors", ".parquet", ".bin", ".lfs")


def suite_tasks():
    """The tasks whose data the stand-in hub has, as their suites have them."""
    from qzhou_eval.evaluate.mteb1.tasks import complete
    from qzhou_eval.suite.library import built_in

    tasks = {t.name: t for suite in ("cmteb", "mteb") for t in built_in(suite).tasks}
    return {name: complete(tasks[name]) for name in (*CMTEB_TASKS, *MTEB_TASKS)}


@dataclass
class Fault:
    """What goes wrong with requests whose path ends in `path`, so many times.

    Kinds: "drop" (the connection breaks off half way), "short" (an orderly end half way), "wrong"
    (other bytes of the same length), "429", "500", "503", "no-range" (the whole file whatever is
    asked for), "slow" (half the bytes, then nothing until `release` is set).
    """

    kind: str
    path: str = ""
    times: int = 1_000_000
    retry_after: str = ""
    release: threading.Event = field(default_factory=threading.Event)


@dataclass
class Repository:
    commit: str
    files: dict[str, bytes]
    refs: dict[str, str] = field(default_factory=dict)


class StandInHub:
    def __init__(self):
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.faults: list[Fault] = []
        self.hostile: list[str] = []
        """Names put into every listing."""
        self.served: Counter = Counter()
        """Bytes of file bodies sent, by repository and path."""
        self.asked: list[tuple[str, str, str]] = []
        """Method, path and Range of every request."""
        self._lock = threading.Lock()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_HEAD(self):
                hub.answer(self, body=False)

            def do_GET(self):
                hub.answer(self, body=True)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        for fault in self.faults:
            fault.release.set()
        self._server.shutdown()
        self._server.server_close()

    def add(self, kind: str, name: str, folder: Path, commit: str, more: dict | None = None):
        """Hold the files of `folder` as `name` ("dataset" or "model") at `commit`."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        files |= {".gitattributes": b"* text\n", **(more or {})}
        self.repositories[kind, name] = Repository(commit, files, {"main": commit})

    def fail(self, kind: str, path: str = "", **more) -> Fault:
        self.faults.append(Fault(kind, path, **more))
        return self.faults[-1]

    def bodies(self) -> int:
        """How many file bodies were asked for."""
        return sum(method == "GET" and "/resolve/" in path for method, path, _ in self.asked)

    def _fault(self, path: str, kinds: tuple[str, ...]) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.kind in kinds and fault.times > 0 and path.endswith(fault.path):
                    fault.times -= 1
                    return fault
        return None

    def answer(self, request, *, body: bool):
        path = unquote(urlsplit(request.path).path)
        with self._lock:
            self.asked.append((request.command, path, request.headers.get("Range", "")))
        if busy := self._fault(path, ("429", "500", "503")):
            headers = {"Retry-After": busy.retry_after} if busy.retry_after else {}
            return self._send(request, int(busy.kind), b"busy", headers)
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            return self._list(request, parts)
        kind = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[1:] if kind == "dataset" else parts
        name, (verb, revision), file = "/".join(parts[:2]), parts[2:4], "/".join(parts[4:])
        repository = self.repositories.get((kind, name))
        commit = repository and repository.refs.get(revision, revision)
        if not repository or verb != "resolve" or commit != repository.commit:
            return self._send(request, 404, b"", {"X-Error-Code": "RepoNotFound"})
        if file not in repository.files:
            headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            return self._send(request, 404, b"", headers)
        return self._file(request, f"{name}/{file}", repository.files[file], commit, body)

    def _list(self, request, parts):
        kind = parts[1].removesuffix("s")
        name, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
        repository = self.repositories.get((kind, name))
        if not repository:
            return self._send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if repository.refs.get(revision, revision) != repository.commit:
            return self._send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        siblings = [self._sibling(*item) for item in repository.files.items()]
        siblings += [self._sibling(evil, b"evil") for evil in self.hostile]
        info = {"id": name, "sha": repository.commit, "siblings": siblings}
        return self._send(request, 200, json.dumps(info).encode(), {})

    @staticmethod
    def _sibling(path, content):
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        sibling = {"rfilename": path, "size": len(content), "blobId": blob}
        if path.endswith(LFS):
            digest = hashlib.sha256(content).hexdigest()
            sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
        return sibling

    def _file(self, request, name, content, commit, body):
        size, start, status = len(content), 0, 200
        asked = request.headers.get("Range", "")
        if asked and not self._fault(name, ("no-range",)):
            start, status = int(asked.removeprefix("bytes=").partition("-")[0]), 206
        sibling = self._sibling(name, content)
        etag = sibling["lfs"]["sha256"] if "lfs" in sibling else sibling["blobId"]
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{etag}"',
            "X-Linked-Size": str(size),
            "X-Linked-ETag": f'"{etag}"',
            "Accept-Ranges": "bytes",
        }
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        rest = content[start:]
        if not body:
            return self._send(request, status, b"", {**headers, "Content-Length": str(len(rest))})
        if self._fault(name, ("wrong",)):
            rest = bytes(byte ^ 1 for byte in rest)
        half = max(1, len(rest) // 2)
        if self._fault(name, ("short",)):
            with self._lock:
                self.served[name] += half
            return self._send(request, status, rest[:half], headers)
        slow = self._fault(name, ("slow",))
        if slow or self._fault(name, ("drop",)):
            self._head(request, status, {**headers, "Content-Length": str(len(rest))})
            request.wfile.write(rest[:half])
            request.wfile.flush()
            with self._lock:
                self.served[name] += half
            if slow:
                slow.release.wait(60)
            else:
                time.sleep(0.02)  # so that what was sent arrives before the end does
            request.close_connection = True
            return None
        with self._lock:
            self.served[name] += len(rest)
        return self._send(request, status, rest, headers)

    def _send(self, request, status, content, headers):
        length = {} if "Content-Length" in headers else {"Content-Length": str(len(content))}
        self._head(request, status, {**headers, **length})
        if request.command != "HEAD":
            request.wfile.write(content)

    @staticmethod
    def _head(request, status, headers):
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        request.end_headers()
