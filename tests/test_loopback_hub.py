"""The real client against the loopback Hub."""

import time
from pathlib import Path

import pytest
from huggingface_hub import (
    _CACHED_NO_EXIST,
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    HfFileSystem,
    ModelCard,
    metadata_update,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session
from loopback_hub import FAILURE, Fault, too_many_requests

CARD = "---\nlicense: apache-2.0\ntags:\n- attention\npipeline_tag: text-classification\n---\n# A card\n"
ID = "tester/thing"

anonymous = HfApi(token=False)
reader = HfApi(token="hf_read")
stranger = HfApi(token="hf_stranger")


@pytest.fixture
def api(hub):
    return HfApi()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "data" / "rows.csv").write_text("a,b\n1,2\n")
    (folder / "weights.safetensors").write_bytes(bytes(range(256)) * 10)
    (folder / "empty.txt").touch()
    return folder


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def raises_status(status):
    return pytest.raises(HfHubHTTPError, check=lambda error: error.response.status_code == status)


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
@pytest.mark.parametrize("storage", ["auto", "regular", "lfs"])
def test_round_trip(hub, api, folder, tmp_path, kind, storage):
    hub.storage = storage
    url = api.create_repo(ID, repo_type=kind, space_sdk="gradio" if kind == "space" else None)
    assert (url.repo_id, url.repo_type) == (ID, kind)
    commit = api.upload_folder(repo_id=ID, repo_type=kind, folder_path=folder)
    repo = hub.repos[kind, ID]
    assert commit.oid == repo.commits[-1].oid
    large = {path for path, file in repo.commits[-1].files.items() if file.lfs}
    assert (
        large
        == {
            "auto": {"weights.safetensors"},
            "regular": set(),
            "lfs": {"README.md", "data/rows.csv", "weights.safetensors"},
        }[storage]
    )
    assert hub.count("PUT", "^cdn:/upload/") == len(large)

    expected = {".gitattributes": repo.contents()[".gitattributes"], **contents(folder)}
    assert repo.contents() == expected
    snapshot_download(ID, repo_type=kind, local_dir=tmp_path / "copy")
    assert contents(tmp_path / "copy") == expected
    for path in ("data/rows.csv", "weights.safetensors"):
        downloaded = Path(api.hf_hub_download(ID, path, repo_type=kind))
        assert downloaded.read_bytes() == (folder / path).read_bytes()
    assert api.list_repo_files(ID, repo_type=kind) == sorted(expected)


def test_nothing_to_commit(hub, api, folder):
    api.create_repo(ID)
    first = api.upload_folder(repo_id=ID, folder_path=folder)
    assert api.upload_folder(repo_id=ID, folder_path=folder).oid == first.oid
    # Known content is not sent again under another name.
    uploads = hub.count("PUT", "^cdn:/upload/")
    api.upload_file(repo_id=ID, path_or_fileobj=folder / "weights.safetensors", path_in_repo="again.safetensors")
    assert hub.count("PUT", "^cdn:/upload/") == uploads == 1


def test_create(hub, api):
    url = api.create_repo("thing")
    assert url.repo_id == ID and api.repo_exists(ID)
    assert api.create_repo(ID, exist_ok=True) == url
    with raises_status(409):
        api.create_repo(ID)
    with raises_status(403):
        api.create_repo("strangers/thing")
    assert api.create_repo("testers/thing", repo_type="dataset", private=True).repo_id == "testers/thing"
    assert hub.repos["dataset", "testers/thing"].private
    api.delete_repo(ID)
    assert ("model", ID) not in hub.repos
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(ID)


def test_info_and_tree(hub, api, folder):
    api.create_repo(ID)
    first = api.upload_folder(repo_id=ID, folder_path=folder)
    second = api.upload_file(repo_id=ID, path_or_fileobj=b"more", path_in_repo="data/deep/more.txt")
    info = api.model_info(ID, files_metadata=True)
    assert (info.sha, info.author, info.pipeline_tag, info.tags) == (
        second.oid,
        "tester",
        "text-classification",
        ["attention"],
    )
    assert info.card_data.license == "apache-2.0"
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings}
    assert sizes["weights.safetensors"] == 2560 and sizes["data/rows.csv"] == 8
    lfs = next(sibling.lfs for sibling in info.siblings if sibling.lfs)
    assert lfs.sha256 == hub.repos["model", ID].find("main").files["weights.safetensors"].sha256
    assert api.model_info(ID, revision=first.oid).sha == first.oid
    assert api.model_info(ID, expand=["sha"]).siblings is None

    assert [entry.path for entry in api.list_repo_tree(ID)] == [
        ".gitattributes",
        "README.md",
        "data",
        "empty.txt",
        "weights.safetensors",
    ]
    entries = {entry.path: entry for entry in api.list_repo_tree(ID, "data", recursive=True, expand=True)}
    assert set(entries) == {"data/deep", "data/deep/more.txt", "data/rows.csv"}
    assert entries["data/rows.csv"].last_commit.oid == first.oid
    assert entries["data/deep"].last_commit.oid == second.oid
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(ID, "nothing"))
    found = api.get_paths_info(ID, ["weights.safetensors", "data", "nothing"])
    assert [entry.path for entry in found] == ["weights.safetensors", "data"]
    assert found[0].lfs.size == 2560


def test_missing(hub, api):
    api.create_repo(ID)
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(ID, "nothing.json")
    assert try_to_load_from_cache(ID, "nothing.json") is _CACHED_NO_EXIST
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download(ID, ".gitattributes", revision="nothing")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(ID, revision="nothing")
    with pytest.raises(RevisionNotFoundError):
        api.upload_file(repo_id=ID, path_or_fileobj=b"x", path_in_repo="x", revision="nothing")
    for client in (api, anonymous):
        with pytest.raises(RepositoryNotFoundError):
            client.model_info("tester/nothing")
        with pytest.raises(RepositoryNotFoundError):
            client.hf_hub_download("tester/nothing", "config.json")
        with pytest.raises(RepositoryNotFoundError):
            client.upload_file(repo_id="tester/nothing", path_or_fileobj=b"x", path_in_repo="x")


def test_tokens(hub, api):
    assert api.whoami()["name"] == reader.whoami()["name"] == "tester"
    with raises_status(401):
        HfApi(token="hf_unknown").whoami()
    for client, status in ((anonymous, 401), (HfApi(token="hf_unknown"), 401), (reader, 403)):
        with raises_status(status):
            client.create_repo(ID)
    api.create_repo(ID)
    for client, status in ((anonymous, 401), (HfApi(token="hf_unknown"), 401), (reader, 403), (stranger, 403)):
        for write in (
            lambda client: client.upload_file(repo_id=ID, path_or_fileobj=b"x", path_in_repo="x"),
            lambda client: client.create_branch(ID, branch="x"),
            lambda client: client.delete_repo(ID),
        ):
            with raises_status(status):
                write(client)
    assert len(hub.repos["model", ID].commits) == 1
    assert anonymous.model_info(ID).id == reader.model_info(ID).id == ID
    with raises_status(401):
        HfApi(token="hf_unknown").model_info(ID)


def test_private(api):
    api.create_repo(ID, private=True)
    assert reader.model_info(ID).private
    for client, status in ((anonymous, 401), (stranger, 404)):
        for read in (
            lambda client: client.model_info(ID),
            lambda client: client.hf_hub_download(ID, ".gitattributes"),
            lambda client: list(client.list_repo_tree(ID)),
        ):
            with raises_status(status):
                read(client)


def test_branches(hub, api):
    api.create_repo(ID)
    start = api.upload_file(repo_id=ID, path_or_fileobj=b"1", path_in_repo="file").oid
    api.create_branch(ID, branch="feature/x")
    api.upload_file(repo_id=ID, path_or_fileobj=b"2", path_in_repo="file", revision="feature/x")
    api.create_branch(ID, branch="old", revision=hub.repos["model", ID].commits[0].oid)
    for revision, data in (("main", b"1"), ("feature/x", b"2"), (start, b"1")):
        assert Path(api.hf_hub_download(ID, "file", revision=revision)).read_bytes() == data
    assert {branch.name: branch.target_commit for branch in api.list_repo_refs(ID).branches}["main"] == start
    assert not api.file_exists(ID, "file", revision="old")
    with raises_status(409):
        api.create_branch(ID, branch="old")
    api.create_branch(ID, branch="old", exist_ok=True)
    api.delete_branch(ID, branch="old")
    for branch, status in (("old", 404), ("main", 403)):
        with raises_status(status):
            api.delete_branch(ID, branch=branch)


def test_commit(hub, api):
    api.create_repo(ID)
    first = api.upload_file(repo_id=ID, path_or_fileobj=b"1", path_in_repo="a/file")
    api.upload_file(repo_id=ID, path_or_fileobj=b"large", path_in_repo="b.bin")
    with raises_status(412):
        api.upload_file(repo_id=ID, path_or_fileobj=b"2", path_in_repo="a/file", parent_commit=first.oid)
    api.create_commit(
        ID,
        [
            CommitOperationCopy("b.bin", "c.bin"),
            CommitOperationCopy("a/file", "file"),
            CommitOperationDelete("a/"),
            CommitOperationAdd("d", b"4"),
        ],
        commit_message="Many things",
    )
    files = hub.repos["model", ID].find("main").files
    assert {path: (file.data, file.lfs) for path, file in files.items() if path != ".gitattributes"} == {
        "b.bin": (b"large", True),
        "c.bin": (b"large", True),
        "d": (b"4", False),
        "file": (b"1", False),
    }
    assert hub.repos["model", ID].commits[-1].title == "Many things"
    with pytest.raises(EntryNotFoundError):
        api.delete_file("nothing", ID)


def test_corrupt_upload(hub, api):
    """What a careless client could send, past the real one."""
    api.create_repo(ID)
    headers = {"authorization": "Bearer hf_write"}
    session = get_session()
    oid = "0" * 64
    batch = {"operation": "upload", "hash_algo": "sha256", "objects": [{"oid": oid, "size": 4}]}
    answer = session.post(f"{hub.url}/{ID}.git/info/lfs/objects/batch", json=batch, headers=headers).json()
    href = answer["objects"][0]["actions"]["upload"]["href"]
    assert session.put(href, content=b"data").status_code == 400
    assert session.put(href, content=b"data", headers=headers).status_code == 400
    assert session.put(f"{hub.cdn_url}/upload/guess", content=b"data").status_code == 403

    def commit(*lines):
        ndjson = {"content-type": "application/x-ndjson", **headers}
        return session.post(f"{hub.url}/api/models/{ID}/commit/main", content="\n".join(lines), headers=ndjson)

    header = '{"key": "header", "value": {"summary": "s"}}'
    pointer = f'{{"key": "lfsFile", "value": {{"path": "a.bin", "algo": "sha256", "oid": "{oid}", "size": 4}}}}'
    file = '{"key": "file", "value": {"path": "%s", "encoding": "base64", "content": "%s"}}'
    for lines in (
        [pointer, header],
        [header, pointer],
        [header, file % ("a.bin", "AAAA")],
        [header, file % ("a", "?")],
        [header, file % ("../a", "AAAA")],
        ["nothing"],
    ):
        assert commit(*lines).status_code == 400
    assert commit(header, file % ("a", "AAAA")).status_code == 200


@pytest.mark.parametrize(
    ("fault", "pause"),
    [
        (Fault("PUT cdn:"), 1),
        (Fault("PUT cdn:", handled=True), 1),
        (Fault("PUT cdn:", FAILURE), 1),
        (Fault("/preupload/", too_many_requests(7)), 8),
        (Fault("/objects/verify", FAILURE), 1),
    ],
)
def test_faults_that_the_client_overcomes(hub, api, folder, monkeypatch, fault, pause):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    api.create_repo(ID)
    hub.faults = [fault]
    api.upload_folder(repo_id=ID, folder_path=folder)
    assert hub.faults == [] and pauses == [pause]
    assert len(hub.repos["model", ID].commits) == 2
    assert hub.repos["model", ID].contents().items() >= contents(folder).items()


@pytest.mark.parametrize(("handled", "commits"), [(False, 1), (True, 2)])
def test_faults_that_the_client_tells_of(hub, api, folder, handled, commits):
    api.create_repo(ID)
    hub.faults = [Fault("/commit/", handled=handled)]
    with pytest.raises(HTTPError, match="disconnected"):
        api.upload_folder(repo_id=ID, folder_path=folder)
    assert len(hub.repos["model", ID].commits) == commits
    hub.faults = [Fault("GET /api/models", FAILURE, skip=1)]
    api.model_info(ID)
    with raises_status(500):
        api.model_info(ID)
    api.model_info(ID)
    hub.faults = [Fault("/api/repos/create", too_many_requests(60))]
    with pytest.raises(HfHubHTTPError, check=lambda error: error.response.headers["Retry-After"] == "60"):
        api.create_repo(ID, exist_ok=True)


def test_card(hub, api):
    api.create_repo(ID)
    ModelCard(CARD).push_to_hub(ID)
    metadata_update(ID, {"library_name": "transformers"})
    assert api.model_info(ID).library_name == "transformers"
    assert ModelCard.load(ID).data.license == "apache-2.0"
    upload = lambda text: api.upload_file(repo_id=ID, path_or_fileobj=text, path_in_repo="README.md")  # noqa: E731
    with pytest.raises(ValueError, match="Invalid metadata"):
        upload(b"---\nlicense: [\n---\n")
    with pytest.warns(UserWarning, match="empty or missing"):
        upload(b"# No metadata")


def test_ranges(hub, api):
    api.create_repo(ID)
    for path in ("file.txt", "file.bin"):
        api.upload_file(repo_id=ID, path_or_fileobj=b"0123456789", path_in_repo=path)
        with HfFileSystem(skip_instance_cache=True).open(f"{ID}/{path}", block_size=4) as file:
            file.seek(3)
            assert file.read(4) == b"3456"


def test_unhandled(hub, api):
    api.create_repo(ID)
    with raises_status(501):
        api.create_tag(ID, tag="v1")
    with raises_status(501):
        api.model_info(ID, securityStatus=True)
    assert hub.unhandled == [
        f"POST /api/models/{ID}/tag/main",
        f"GET /api/models/{ID} {{'securityStatus': ['true']}}",
    ]
    hub.unhandled.clear()


def test_transformers(hub):
    import torch
    from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertForSequenceClassification(BertConfig(**sizes, vocab_size=20)).eval()
    model.push_to_hub("thing")
    assert {"config.json", "model.safetensors"} <= hub.repos["model", ID].contents().keys()
    again = AutoModelForSequenceClassification.from_pretrained(ID).eval()
    ids = torch.arange(6)[None]
    torch.testing.assert_close(model.state_dict(), again.state_dict(), atol=0, rtol=0)
    torch.testing.assert_close(model(ids).logits, again(ids).logits, atol=1e-6, rtol=0)


def test_run_python(run_python):
    with pytest.raises(RuntimeError, match="No module named 'hf_attn_faith"):
        run_python("import hf_attn_faith.divergences")
    run_python("import importlib.util; assert importlib.util.find_spec('hf_attn_faith')", without_package=False)
    who = """
        from huggingface_hub import whoami
        print(whoami()["name"])
    """
    assert run_python(who, env={"HF_TOKEN": "hf_stranger"}) == "stranger\n"
