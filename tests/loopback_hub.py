"""A strict Hugging Face Hub on the loopback interface, for the tests; standard library only.

    with LoopbackHub() as hub:          # then run a client with HF_ENDPOINT=hub.url and HF_TOKEN="hf_write"
        hub.repos["model", "tester/name"].contents()["config.json"]

It answers the requests of the real `huggingface_hub` client as the real Hub does: who may read and write what, which
error a missing repo, revision or file gives, how large files travel. A request that it does not know is answered with
501 and kept in `hub.unhandled`, so that a test can fail on it. Large files lie on a second port, as those of the real
Hub lie on another host: there uploads and downloads carry a signed URL and must not carry the token.

What can go wrong on the way goes wrong on demand:

    hub.faults = [Fault("PUT cdn:"), Fault("/commit/", FAILURE), Fault("/preupload/", too_many_requests(7))]
"""

import base64
import binascii
import datetime
import hashlib
import itertools
import json
import re
import secrets
import threading
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

KINDS = ("model", "dataset", "space")
URL_PREFIX = {"model": "", "dataset": "datasets/", "space": "spaces/"}
# The files that a new repo keeps in large file storage.
LFS_SUFFIXES = (
    "7z arrow bin bz2 ckpt ftz gz h5 joblib mlmodel model msgpack npy npz onnx ot parquet pb pickle pkl pt pth rar "
    "safetensors tar tflite tgz wasm xz zip zst"
)
GITATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES.split()).encode()


@dataclass(frozen=True)
class User:
    name: str
    write: bool = True
    organizations: tuple[str, ...] = ()

    def owns(self, namespace):
        return namespace in (self.name, *self.organizations)


TOKENS = {
    "hf_write": User("tester", organizations=("testers",)),
    "hf_read": User("tester", write=False, organizations=("testers",)),
    "hf_stranger": User("stranger"),
}


@dataclass(frozen=True)
class File:
    data: bytes
    lfs: bool = False

    @cached_property
    def sha256(self):
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def blob_id(self):
        """What git would call the file: for a large file, the name of its pointer."""
        data = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    @property
    def pointer(self):
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return text.encode()

    @property
    def etag(self):
        return self.sha256 if self.lfs else self.blob_id


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: "Commit | None" = field(repr=False)
    title: str
    description: str
    date: str
    files: dict[str, File] = field(repr=False)

    def under(self, path):
        return {name: file for name, file in self.files.items() if name == path or name.startswith(f"{path}/")}

    def last_change(self, path):
        commit = self
        while commit.parent and commit.parent.under(path) == self.under(path):
            commit = commit.parent
        return commit


@dataclass
class Repo:
    kind: str
    id: str
    private: bool = False
    sdk: str | None = None
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, Commit] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # large file storage, by SHA-256

    counter = itertools.count()

    @property
    def namespace(self):
        return self.id.split("/")[0]

    def commit(self, branch, files, title, description=""):
        """Put a commit with exactly these files on the branch; the initial one makes the branch."""
        parent = self.branches.get(branch)
        oid = hashlib.sha1(f"{next(Repo.counter)} {self.id} {branch} {title}".encode()).hexdigest()
        self.branches[branch] = Commit(oid, parent, title, description, now(), dict(sorted(files.items())))
        self.commits.append(self.branches[branch])
        return self.branches[branch]

    def find(self, revision):
        """The commit of a branch, or with this name; None if there is none."""
        branch = revision.removeprefix("refs/heads/")
        return self.branches.get(branch) or next((c for c in self.commits if c.oid == revision), None)

    def contents(self, revision="main"):
        """For the tests: path -> bytes."""
        return {path: file.data for path, file in self.find(revision).files.items()}


@dataclass
class Request:
    method: str
    path: str  # still percent-encoded; "cdn:/..." on the port of the large files
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes = field(repr=False)
    status: int | None = None

    def json(self):
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        require(isinstance(value, dict), "the body is not a JSON object")
        return value

    def flag(self, name):
        return self.query.get(name, [""])[0].lower() in ("1", "true")


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What happens to one request: the first with `pattern` in its "METHOD path", after `skip` others.

    It gets this answer instead of the Hub's own; or none, and the connection is cut: in the middle of its body, or,
    if `handled`, after the Hub has done what was asked. Then the fault is over, and no longer in `hub.faults`."""

    pattern: str = ""
    answer: Answer | None = None
    handled: bool = False
    skip: int = 0


class HubError(Exception):
    """An answer with an error, `code` as in the header X-Error-Code."""

    def __init__(self, status, message, code=None, headers=None, **body):
        super().__init__(message)
        line = " ".join(message.encode("ascii", "replace").decode().split())
        headers = {"X-Error-Message": line, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self.answer = as_json({"error": message, **body}, status, headers)


def require(condition, message, status=400):
    if not condition:
        raise HubError(status, message)


def as_json(value, status=200, headers=None):
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


FAILURE = HubError(500, "Internal Error - We're working hard to fix this as soon as possible!").answer


def too_many_requests(seconds):
    return HubError(429, "We had to rate limit you", headers={"Retry-After": str(seconds)}).answer


def now():
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def send_file(request, data, headers):
    """The file, or the range of it that was asked for."""
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if not asked or asked[0] == "bytes=-":
        return Answer(200, data, headers)
    first, last = (int(number) if number else None for number in asked.groups())
    if first is None:
        first, last = max(0, len(data) - last), None
    if first >= len(data):
        raise HubError(416, "Range Not Satisfiable", headers={"Content-Range": f"bytes */{len(data)}"})
    part = data[first : len(data) if last is None else last + 1]
    headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
    return Answer(206, part, headers)


ROUTES = []
ID = r"(?P<id>[^/]+(?:/[^/]+)?)"
API = rf"/api/(?P<kind>{'|'.join(KINDS)})s/{ID}"
GIT = rf"/(?:(?P<kind>dataset|space)s/)?{ID}"
REV = r"/(?P<revision>[^/]+)"


def route(methods, pattern, query="", access=None):
    """Declare an endpoint. With `access` "read" or "write" it is called with the repo, and where the path names a
    revision with its commit, after the checks that every such endpoint shares."""

    def register(function):
        ROUTES.append((methods.split(), re.compile(pattern), set(query.split()), access, function))
        return function

    return register


class LoopbackHub:
    """
    url          the endpoint, e.g. http://127.0.0.1:40001
    repos        (kind, id) -> Repo, kind one of "model", "dataset", "space"
    requests     every Request since `clear`, with the status that it got
    unhandled    requests that no endpoint knows, or that broke one
    storage      how files are kept: "auto" (as the real Hub does: by suffix and size), "regular", "lfs", or a
                 function of path and size that says "regular" or "lfs"
    faults       what is to go wrong next
    tokens       token -> User
    parse_yaml   how to read the metadata of a card; without it (the standard library has no YAML) cards go unread
    """

    def __init__(self, parse_yaml=None, tokens=TOKENS):
        self.parse_yaml, self.tokens = parse_yaml, tokens
        self.lock = threading.RLock()
        self.servers = [_Server(self, prefix) for prefix in ("", "cdn:")]
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)
        self.clear()

    def clear(self):
        with self.lock:
            self.repos, self.requests, self.unhandled, self.faults = {}, [], [], []
            self.signed = {}  # path on the port of the large files -> what may be done there
            self.storage, self.lfs_threshold = "auto", 10 * 2**20

    def __enter__(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def count(self, method, pattern):
        """How many requests there were with this method and a path in which the pattern is found."""
        return sum(request.method == method and bool(re.search(pattern, request.path)) for request in self.requests)

    def fault_of(self, line):
        """What is to go wrong with the request that begins with this line, if anything."""
        with self.lock:
            for fault in [fault for fault in self.faults if fault.pattern in line]:
                if fault.skip == 0:
                    self.faults.remove(fault)
                    return fault
                fault.skip -= 1

    # Every request comes through here, unless it is cut off.

    def answer(self, request):
        with self.lock:
            self.requests.append(request)
            try:
                answer = self.dispatch(request)
            except HubError as error:
                answer = error.answer
            except Exception as error:
                self.unhandled.append(f"{request.method} {request.path}: {error!r}")
                answer = Answer(501)
            request.status = answer.status
            return answer

    def dispatch(self, request):
        for methods, pattern, query, access, function in ROUTES:
            match = pattern.fullmatch(request.path)
            if match and request.method in methods and set(request.query) <= query:
                arguments = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
                if access:
                    repo = self.repo(request, arguments.pop("kind", "model"), arguments.pop("id"), access == "write")
                    arguments["repo"] = repo
                    if "revision" in pattern.groupindex:
                        arguments.setdefault("revision", "main")
                        arguments["commit"] = self.commit_of(repo, arguments["revision"])
                return function(self, request, **arguments)
        self.unhandled.append(f"{request.method} {request.path} {request.query or ''}".rstrip())
        raise HubError(501, "The loopback Hub does not know this request")

    def user(self, request):
        """Who asks: None without a token; an unknown token is refused everywhere."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        user = self.tokens.get(header.removeprefix("Bearer "))
        require(user, "Invalid credentials in Authorization header", 401)
        return user

    def writer(self, request, namespace=None):
        user = self.user(request)
        require(user, "Invalid username or password.", 401)
        require(user.write, "You must use a write token for this.", 403)
        require(user.owns(namespace or user.name), f"You don't have the rights to write under {namespace!r}", 403)
        return user

    def repo(self, request, kind, id, write):
        user, repo = self.user(request), self.repos.get((kind, id))
        visible = repo and (not repo.private or (user and user.owns(repo.namespace)))
        if user is None and (write or not visible):
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        if not visible:
            raise HubError(404, "Repository not found", "RepoNotFound")
        if write:
            self.writer(request, repo.namespace)
        return repo

    def commit_of(self, repo, revision):
        if commit := repo.find(revision):
            return commit
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def upload_mode(self, path, size):
        if size == 0:
            return "regular"
        if callable(self.storage):
            return self.storage(path, size)
        if self.storage == "auto":
            large = path.rsplit(".", 1)[-1] in LFS_SUFFIXES.split() or size > self.lfs_threshold
            return "lfs" if large else "regular"
        return self.storage

    def sign(self, *action):
        """A URL on the port of the large files with which this action, and only this one, may be done."""
        path = f"/{action[0]}/{secrets.token_hex(16)}"
        self.signed[path] = action
        return self.cdn_url + path

    def card(self, text):
        """The metadata of a card, the errors and the warnings."""
        block = re.match(r"\s*---[\r\n]+(.*?)[\r\n]+---(\r?\n|$)", text, re.DOTALL)
        if not block:
            return {}, [], ["empty or missing yaml metadata in repo card"]
        if self.parse_yaml is None:
            return {}, [], []
        try:
            data = self.parse_yaml(block[1])
        except Exception as error:
            return {}, [f"Invalid YAML: {error}"], []
        if not isinstance(data, dict):
            return {}, ["The metadata must be a YAML mapping"], []
        return data, [], []

    # Users and repos.

    @route("GET", "/api/whoami-v2")
    def whoami(self, request):
        user = self.user(request)
        require(user, "Invalid username or password.", 401)
        role = "write" if user.write else "read"
        return as_json(
            {
                "type": "user",
                "id": hashlib.sha1(user.name.encode()).hexdigest()[:24],
                "name": user.name,
                "fullname": user.name.title(),
                "orgs": [{"type": "org", "name": name, "roleInOrg": role} for name in user.organizations],
                "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": role}},
            }
        )

    @route("GET", "/api/agent-harnesses")
    def agent_harnesses(self, request):
        raise HubError(404, "Not Found")

    @route("POST", "/api/repos/create")
    def create(self, request):
        body = request.json()
        kind, name = body.get("type") or "model", body.get("name")
        user = self.writer(request, body.get("organization"))
        require(kind in KINDS, f"Invalid repo type {kind!r}")
        require(isinstance(name, str) and re.fullmatch(r"[\w.-]{1,96}", name), f"Invalid repo name {name!r}")
        require(kind != "space" or body.get("sdk") in ("gradio", "streamlit", "docker", "static"), "Invalid sdk")
        require(body.get("visibility") in (None, "public", "private"), "Invalid visibility")
        id = f"{body.get('organization') or user.name}/{name}"
        url = f"{self.url}/{URL_PREFIX[kind]}{id}"
        if (kind, id) in self.repos:
            raise HubError(409, f"You already created this {kind} repo", url=url, name=id)
        private = bool(body.get("private")) or body.get("visibility") == "private"
        repo = self.repos[kind, id] = Repo(kind, id, private, body.get("sdk"))
        files = {".gitattributes": File(GITATTRIBUTES)}
        if kind == "space":
            files["README.md"] = File(f"---\ntitle: {name}\nsdk: {repo.sdk}\n---\n".encode())
        repo.commit("main", files, "initial commit")
        return as_json({"url": url, "name": id})

    @route("DELETE", "/api/repos/delete")
    def delete(self, request):
        body = request.json()
        namespace = body.get("organization") or self.writer(request).name
        repo = self.repo(request, body.get("type") or "model", f"{namespace}/{body.get('name')}", write=True)
        del self.repos[repo.kind, repo.id]
        return Answer(200)

    @route("GET", rf"{API}(?:/revision{REV})?", "blobs expand", "read")
    def info(self, request, repo, revision, commit):
        siblings = []
        for path, file in commit.files.items():
            siblings.append({"rfilename": path})
            if request.flag("blobs"):
                siblings[-1] |= {"size": len(file.data), "blobId": file.blob_id}
                if file.lfs:
                    sizes = {"size": len(file.data), "pointerSize": len(file.pointer)}
                    siblings[-1]["lfs"] = {"sha256": file.sha256, **sizes}
        info = {
            "id": repo.id,
            "author": repo.namespace,
            "sha": commit.oid,
            "createdAt": repo.commits[0].date,
            "lastModified": commit.date,
            "private": repo.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "siblings": siblings,
        }
        readme = commit.files.get("README.md", File(b""))
        card = self.card(readme.data.decode(errors="replace"))[0]
        info |= {"cardData": card, "tags": [str(tag) for tag in card.get("tags") or []]}
        if repo.kind == "model":
            info |= {name: card[name] for name in ("pipeline_tag", "library_name") if name in card}
        if repo.kind == "space":
            info["sdk"] = card.get("sdk", repo.sdk)
        if "expand" in request.query:
            info = {name: value for name, value in info.items() if name in ("id", *request.query["expand"])}
        return as_json(info)

    # Files to read.

    def entry(self, commit, path, expand):
        """A file or folder as `tree` and `paths-info` describe it, None if there is none."""
        if file := commit.files.get(path):
            entry = {"type": "file", "path": path, "size": len(file.data), "oid": file.blob_id}
            if file.lfs:
                entry["lfs"] = {"oid": file.sha256, "size": len(file.data), "pointerSize": len(file.pointer)}
        elif files := commit.under(path):
            names = "".join(f"{name} {file.blob_id}\n" for name, file in files.items())
            entry = {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(names.encode()).hexdigest()}
        else:
            return None
        if expand:
            change = commit.last_change(path)
            entry["lastCommit"] = {"id": change.oid, "title": change.title, "date": change.date}
        return entry

    @route("GET", rf"{API}/tree{REV}(?:/(?P<folder>.+))?", "recursive expand", "read")
    def tree(self, request, repo, revision, commit, folder=None):
        prefix = f"{folder}/" if folder else ""
        paths = set()
        for path in commit.files:
            if path.startswith(prefix):
                parts = path.removeprefix(prefix).split("/")
                depth = len(parts) if request.flag("recursive") else 1
                paths |= {prefix + "/".join(parts[: i + 1]) for i in range(depth)}
        if folder and not paths:
            raise HubError(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
        return as_json([self.entry(commit, path, request.flag("expand")) for path in sorted(paths)])

    @route("POST", rf"{API}/paths-info{REV}", access="read")
    def paths_info(self, request, repo, revision, commit):
        if "json" in request.headers.get("content-type", ""):
            body = request.json()
        else:
            body = parse_qs(request.body.decode())
            body["expand"] = body.get("expand", [""])[0].lower() == "true"
        entries = [self.entry(commit, path.strip("/"), body.get("expand")) for path in body.get("paths", [])]
        return as_json([entry for entry in entries if entry])

    @route("GET HEAD", rf"{GIT}/resolve{REV}/(?P<path>.+)", access="read")
    def resolve(self, request, repo, revision, commit, path):
        headers = {"X-Repo-Commit": commit.oid}
        file = commit.files.get(path)
        if file is None:
            raise HubError(404, "Entry not found", "EntryNotFound", headers)
        headers["ETag"] = f'"{file.etag}"'
        if not file.lfs:
            return send_file(request, file.data, headers)
        headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.data))}
        return Answer(302, headers={**headers, "Location": self.sign("download", file)})

    # Files to write.

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self, request):
        self.user(request)
        body = request.json()
        require(body.get("repoType") in KINDS and isinstance(body.get("content"), str), "Invalid body")
        _, errors, warnings = self.card(body["content"])
        answer = {"errors": [{"message": error} for error in errors]}
        answer["warnings"] = [{"message": warning} for warning in warnings]
        return as_json(answer, 400 if errors else 200)

    @route("POST", rf"{API}/preupload{REV}", access="write")
    def preupload(self, request, repo, revision, commit):
        answers = []
        for file in request.json().get("files", []):
            path, size = checked_path(file.get("path")), file.get("size")
            require(isinstance(size, int) and size >= 0, "size is not a number")
            require(len(decoded(file.get("sample"))) == min(size, 512), "sample is not the first 512 bytes")
            answers.append({"path": path, "uploadMode": self.upload_mode(path, size), "shouldIgnore": False})
            if path in commit.files:
                answers[-1]["oid"] = commit.files[path].etag
        return as_json({"files": answers})

    @route("POST", rf"{GIT}\.git/info/lfs/objects/batch", access="write")
    def lfs_batch(self, request, repo):
        body = request.json()
        require(body.get("operation") == "upload" and body.get("hash_algo") == "sha256", "Unsupported batch", 422)
        require("basic" in body.get("transfers", ["basic"]), "No common transfer", 422)
        self.commit_of(repo, body.get("ref", {}).get("name", "main"))
        objects = []
        for asked in body["objects"]:
            oid, size = asked.get("oid"), asked.get("size")
            require(re.fullmatch(r"[0-9a-f]{64}", str(oid)) and isinstance(size, int), "Invalid object", 422)
            objects.append({"oid": oid, "size": size, "authenticated": True})
            if oid not in repo.objects:
                verify = f"{self.url}/{URL_PREFIX[repo.kind]}{repo.id}.git/info/lfs/objects/verify"
                upload = {"href": self.sign("upload", repo, oid, size)}
                objects[-1]["actions"] = {"upload": upload, "verify": {"href": verify}}
        return as_json({"transfer": "basic", "objects": objects})

    @route("POST", rf"{GIT}\.git/info/lfs/objects/verify", access="write")
    def lfs_verify(self, request, repo):
        body = request.json()
        data = repo.objects.get(body.get("oid"))
        require(data is not None, "Object does not exist", 404)
        require(len(data) == body.get("size"), "Object has another size")
        return as_json({"success": True})

    @route("PUT GET HEAD", "cdn:(?P<path>/.+)")
    def large_file(self, request, path):
        require("authorization" not in request.headers, "A signed URL and a token at the same time")
        action, *what = self.signed.get(path, (None,))
        require(action == ("upload" if request.method == "PUT" else "download"), "AccessDenied", 403)
        if action == "download":
            (file,) = what
            return send_file(request, file.data, {"ETag": f'"{file.sha256}"'})
        repo, oid, size = what
        require(len(request.body) == size and hashlib.sha256(request.body).hexdigest() == oid, "BadDigest")
        repo.objects[oid] = request.body
        return Answer(200, headers={"ETag": f'"{oid}"'})

    @route("POST", rf"{API}/commit{REV}", access="write")
    def commit(self, request, repo, revision, commit):
        require(revision in repo.branches, f"{revision!r} is not a branch")
        require(request.headers.get("content-type") == "application/x-ndjson", "The body is not ndjson")
        try:
            lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
            (first, header), *changes = [(line["key"], line["value"]) for line in lines]
        except (ValueError, KeyError, TypeError):
            raise HubError(400, "The body is not ndjson that starts with a header") from None
        require(first == "header" and header.get("summary"), "The commit has no summary")
        if header.get("parentCommit", commit.oid) != commit.oid:
            raise HubError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(commit.files)
        for key, value in changes:
            path = checked_path(value.get("path", "").removesuffix("/" if key == "deletedFolder" else ""))
            if key == "file":
                require(value.get("encoding") == "base64", "Unknown encoding")
                files[path] = self.regular_file(path, decoded(value.get("content")))
            elif key == "lfsFile":
                data = repo.objects.get(value.get("oid"))
                require(value.get("algo") == "sha256" and data is not None, f"{path} points to no uploaded object")
                require(value.get("size", len(data)) == len(data), f"{path} has another size")
                require(self.upload_mode(path, len(data)) == "lfs", f"{path} is not for large file storage")
                files[path] = File(data, lfs=True)
            elif key in ("deletedFile", "deletedFolder"):
                gone = [path] if key == "deletedFile" else [name for name in files if name.startswith(f"{path}/")]
                if not gone or not files.keys() >= set(gone):
                    raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
                files = {name: file for name, file in files.items() if name not in gone}
            else:
                raise HubError(400, f"Unknown operation {key!r}")
        new = repo.commit(revision, files, header["summary"], header.get("description", ""))
        url = f"{self.url}/{URL_PREFIX[repo.kind]}{repo.id}/commit/{new.oid}"
        return as_json({"success": True, "commitOid": new.oid, "commitUrl": url, "hookOutput": ""})

    def regular_file(self, path, data):
        require(self.upload_mode(path, len(data)) == "regular", f"{path} belongs into large file storage")
        if path == "README.md":
            _, errors, _ = self.card(data.decode(errors="replace"))
            require(not errors, "\n".join(errors))
        return File(data)

    # Branches.

    @route("GET", rf"{API}/refs", "include_prs", "read")
    def refs(self, request, repo):
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit.oid}
            for name, commit in repo.branches.items()
        ]
        return as_json({"branches": branches, "converts": [], "tags": [], "pullRequests": []})

    @route("POST", rf"{API}/branch/(?P<branch>[^/]+)", access="write")
    def create_branch(self, request, repo, branch):
        require(re.fullmatch(r"(?!refs/)[\w.-]+(/[\w.-]+)*", branch), f"Invalid reference for a branch: {branch}")
        require(branch not in repo.branches, f"Reference already exists: {branch}", 409)
        repo.branches[branch] = self.commit_of(repo, request.json().get("startingPoint", "main"))
        return Answer(200)

    @route("DELETE", rf"{API}/branch/(?P<branch>[^/]+)", access="write")
    def delete_branch(self, request, repo, branch):
        require(branch != "main", "The main branch cannot be deleted", 403)
        if branch not in repo.branches:
            raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        del repo.branches[branch]
        return Answer(200)


def checked_path(path):
    parts = path.split("/") if isinstance(path, str) else [""]
    require(not {"", ".", "..", ".git"} & set(parts), f"Invalid path {path!r}")
    return path


def decoded(content):
    try:
        return base64.b64decode(content, validate=True)
    except (TypeError, binascii.Error):
        raise HubError(400, "Invalid base64") from None


class _Server(ThreadingHTTPServer):
    def __init__(self, hub, prefix):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.prefix = hub, prefix


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave together
    disable_nagle_algorithm = True

    def handle_request(self):
        # A body without a length would leave the connection in an unknown state.
        if "transfer-encoding" in self.headers:
            self.server.hub.unhandled.append(f"{self.command} {self.path}: chunked body")
            self.close_connection = True
        length, url = int(self.headers.get("content-length", 0)), urlsplit(self.path)
        fault = self.server.hub.fault_of(f"{self.command} {self.server.prefix}{url.path}")
        if fault and not fault.answer and not fault.handled:
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(url.query, keep_blank_values=True)
        request = Request(self.command, self.server.prefix + url.path, query, headers, body)
        answer = fault.answer if fault and fault.answer else self.server.hub.answer(request)
        if fault and not fault.answer:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = handle_request

    def log_message(self, *_):
        pass
