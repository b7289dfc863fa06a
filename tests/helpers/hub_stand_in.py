"""A Hugging Face hub on this machine, as far as models are written to it and read from it: enough for what
`huggingface_hub` asks when it makes a repository, commits files, and downloads a snapshot."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
import yaml
from huggingface_hub import constants
from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

ROUTES = Map(
    [
        Rule("/api/repos/create", endpoint="create"),
        Rule("/api/validate-yaml", endpoint="validate"),
        Rule("/api/models/<path:name>/preupload/main", endpoint="preupload"),
        Rule("/api/models/<path:name>/commit/main", endpoint="commit"),
        Rule("/api/models/<path:name>/revision/main", endpoint="info"),
        Rule("/api/models/<path:name>/tree/<revision>", endpoint="tree"),
        Rule("/<path:name>/resolve/<revision>/<file>", endpoint="file"),
    ]
)


class HubStandIn:
    """`models`: the files of each, by name."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.url = ""

    @contextmanager
    def in_place_of_the_real_one(self, cache: Path) -> Iterator[None]:
        """In this process, whose `huggingface_hub` has read its environment; what is downloaded goes to `cache`."""
        settings = {
            "ENDPOINT": self.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(cache),
            "HF_HUB_OFFLINE": False,
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setattr(constants, name, value)
            patch.setenv("HF_TOKEN", "hf_nobody")
            yield

    def __call__(self, environ, start_response):
        request = Request(environ)
        try:
            endpoint, values = ROUTES.bind_to_environ(environ).match()
            response = getattr(self, endpoint)(request, **values)
        except NotFound:
            response = Response("{}", 404, {"X-Error-Code": "RepoNotFound"})
        return response(environ, start_response)

    def create(self, request: Request) -> Response:
        asked = request.get_json()
        name = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
        self.models.setdefault(name, {})
        return answer({"url": f"{self.url}/{name}", "name": name, "id": name})

    def validate(self, request: Request) -> Response:
        """Of a model card: whether its header is YAML that names a licence."""
        header = yaml.safe_load(request.get_json()["content"].split("---")[1])
        return answer({"errors": [] if header.get("license") else [{"message": "license is missing"}], "warnings": []})

    def preupload(self, request: Request, name: str) -> Response:
        self._of(name)
        files = [
            {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
            for each in request.get_json()["files"]
        ]
        return answer({"files": files})

    def commit(self, request: Request, name: str) -> Response:
        for line in request.get_data().splitlines():
            change = json.loads(line)
            if change["key"] == "file":
                self._of(name)[change["value"]["path"]] = base64.b64decode(change["value"]["content"])
        return answer({"commitUrl": f"{self.url}/{name}/commit/{self._sha(name)}", "commitOid": self._sha(name)})

    def info(self, request: Request, name: str) -> Response:
        siblings = [{"rfilename": file} for file in self._of(name)]
        return answer({"id": name, "modelId": name, "sha": self._sha(name), "siblings": siblings, "private": False})

    def tree(self, request: Request, name: str, revision: str) -> Response:
        entries = [
            {"type": "file", "path": file, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for file, data in self._of(name).items()
        ]
        return answer(entries)

    def file(self, request: Request, name: str, revision: str, file: str) -> Response:
        data = self._of(name).get(file)
        if data is None:
            return Response("{}", 404, {"X-Error-Code": "EntryNotFound"})
        return Response(data, headers={"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": self._sha(name)})

    def _of(self, name: str) -> dict[str, bytes]:
        if name not in self.models:
            raise NotFound
        return self.models[name]

    def _sha(self, name: str) -> str:
        return hashlib.sha1(repr(sorted(self._of(name).items())).encode()).hexdigest()


def answer(content: object) -> Response:
    return Response(json.dumps(content), mimetype="application/json")


@contextmanager
def running_hub() -> Iterator[HubStandIn]:
    """While inside, `.url` answers; HF_ENDPOINT points huggingface_hub there."""
    hub = HubStandIn()
    server = make_server("127.0.0.1", 0, hub, threaded=True)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
