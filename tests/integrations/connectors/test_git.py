"""The git connector against real repositories, through folders and through a real smart-HTTP server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.connectors.base import CONNECTORS, ConfigError
from integrations.connectors.git import GitConnector, connect, link, parse
from integrations.connectors.http import Timing
from maturity.facts import TABLES, Reading, Statement
from tests.integrations.connectors.recorder import Recorder
from tests.integrations.git_server import GitServer, Repository, git_server

NOW = 1_790_500_000.0
SECRET = "sEcret-t0ken-of-a-test"


def collected(address: str, folders: tuple[str, ...] = (), **settings: Any) -> tuple[Recorder, Statement]:
    sink = Recorder()
    config = parse({"base_url": address, **settings}, folders=folders)
    return sink, GitConnector(config, timing=Timing(now=lambda: NOW)).collect(sink)


def roles(sink: Recorder) -> dict[str, tuple[str, str]]:
    return {row["path"]: (row["role"], row["marks"]) for row in sink.tables["repository_files"]}


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Copies go to a folder of the test, which is empty again afterwards."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "served" / "lungs.git")


def filled(repository: Repository) -> None:
    repository.commit(
        {
            "src/train.py": "import mlflow\nfrom src.data import batches\nmlflow.start_run()\nseed = 1\n",
            "src/data.py": "from .transforms import scale\n",
            "src/serve.py": "from src import transforms\n",
            "src/transforms.py": "def scale(x): return x\n",
            "tests/test_transforms.py": "def test_empty_batch(): assert scale([]).shape == 0\n",
            ".github/workflows/ci.yml": "on: [push]\njobs:\n  a:\n    steps:\n    - run: pytest --cov; gitleaks\n",
            "datasheet.md": "# Data\n## Source\nx\n## Licence\ny\n## Permitted use\nz\n",
            "requirements.txt": "acme-ml==1.2\nnumpy==2.0\n",
            "config.py": 'AWS = "' + "AKIA" + 'ABCDEFGHIJKLMNOP"\n',
        }
    )
    repository.commit({"README.md": "x"}, message="Add a readme (#7)\n\nReviewed-by: Ben <ben@example.org>\n")
    side = repository.commit(
        {"src/eval.py": "x = 1\n"},
        base=repository.git("rev-parse", "main"),
        ref="refs/heads/side",
        author="Cy <cy@x.org>",
    )
    repository.commit(message="Merge pull request #9 from side", merge=side)


def test_a_folder_gives_files_commits_and_change_requests(repository: Repository) -> None:
    filled(repository)
    folder = str(repository.folder)
    sink, statement = collected(folder, (folder,), shared_packages="acme-ml", project="p")
    assert statement.complete
    found = roles(sink)
    assert found["src/train.py"] == ("train", "seed,tracking,transform:src/transforms.py")
    assert found["src/serve.py"] == ("serve", "transform:src/transforms.py")
    assert found["tests/test_transforms.py"] == ("test", "edge_empty,shape,transform")
    assert found[".github/workflows/ci.yml"] == ("ci", "coverage,on_change,secrets_scan,tests")
    assert found["datasheet.md"] == ("datasheet", "licence,permitted_use,source")
    assert found["requirements.txt"] == ("dependencies", "pinned,shared:acme-ml")
    assert [(r["path"], r["line"], r["rule"]) for r in sink.tables["secret_sightings"]] == [
        ("config.py", 1, "aws_access_key")
    ]
    assert "ABCDEFGHIJKLMNOP" not in repr(sink.tables)
    requests = {row["number"]: row for row in sink.tables["change_requests"]}
    authors = {row["commit"]: row["author"] for row in sink.tables["commits"]}
    assert requests["7"]["approvals"] == 1
    assert requests["9"]["approvals"] is None
    assert requests["9"]["author"] != requests["7"]["author"]
    assert len(authors) == 4
    assert "ann@example.org" not in repr(sink.tables)
    [row] = sink.tables["repositories"]
    assert (row["commits"], row["branch"], row["name"], row["project"]) == (4, "main", "lungs", "p")
    for table in ("repositories", "commits", "repository_files", "secret_sightings", "change_requests"):
        assert len(TABLES[table].frame(sink.tables[table])) == len(sink.tables[table])


def test_two_readings_are_equal(repository: Repository) -> None:
    filled(repository)
    folder = str(repository.folder)
    first, second = collected(folder, (folder,)), collected(folder, (folder,))
    assert first[0].tables == second[0].tables
    assert first[1] == second[1]


def test_a_server_gives_the_same_facts_as_the_folder(repository: Repository) -> None:
    filled(repository)
    folder = str(repository.folder)
    with git_server(repository.folder.parent, user="x-access-token", password=SECRET) as server:
        sink, statement = collected(f"{server.url}/lungs.git", token=SECRET)
    assert statement.complete, statement.streams
    local, _ = collected(folder, (folder,))
    assert roles(sink) == roles(local)
    assert [r["commit"] for r in sink.tables["commits"]] == [r["commit"] for r in local.tables["commits"]]


@pytest.fixture
def server(repository: Repository) -> Iterator[GitServer]:
    filled(repository)
    (repository.folder.parent / "no-repository").mkdir()
    with git_server(repository.folder.parent, user="x-access-token", password=SECRET) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "settings", "reason"),
    [
        ("lungs.git", {"token": "wrong-" + SECRET}, "unauthorised:"),
        ("lungs.git", {}, "unauthorised:"),
        ("no-repository", {"token": SECRET}, "not_found:"),
        ("lungs.git", {"token": SECRET, "branch": "gone"}, "not_found:"),
        ("lungs.git", {"token": SECRET, "max_bytes": 1024}, "too_large:"),
    ],
)
def test_a_refusal_is_told_in_plain_words_and_without_the_secret(
    server: GitServer, path: str, settings: dict[str, Any], reason: str
) -> None:
    sink, statement = collected(f"{server.url}/{path}", **settings)
    stream = statement.stream("repository")
    assert stream.state is Reading.COULD_NOT_LOOK
    assert stream.reason.startswith(reason), stream.reason
    assert statement.stream("reviews").state is Reading.COULD_NOT_LOOK
    assert SECRET not in repr(statement)
    assert not any(sink.tables.values())
    if "max_bytes" not in settings:
        check = connect({"base_url": f"{server.url}/{path}", **settings}).check()
        assert not check.ok
        assert check.reason.startswith(reason)


def test_a_check_asks_for_the_head_alone(server: GitServer) -> None:
    check = connect({"base_url": f"{server.url}/lungs.git", "token": SECRET}).check()
    assert check.ok
    assert not any("POST" in line and "receive" in line for line in server.seen)


def test_an_address_of_a_network_not_allowed_is_refused_before_git_connects(server: GitServer) -> None:
    config = parse({"base_url": f"{server.url}/lungs.git"}, allow_private=())
    statement = GitConnector(config).collect(Recorder())
    assert statement.stream("repository").reason.startswith("address_refused:")
    assert server.seen == []


def test_git_connects_to_the_address_that_was_checked(repository: Repository) -> None:
    filled(repository)
    with git_server(repository.folder.parent) as running:
        port = running.url.rpartition(":")[2]
        config = parse({"base_url": f"http://Code.Example.Invalid.:{port}/lungs.git"})
        statement = GitConnector(config, resolver=lambda host, port: ["127.0.0.1"]).collect(Recorder())
    assert statement.stream("repository").state is Reading.READ


def test_a_reading_that_takes_too_long_is_ended() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        _, statement = collected(f"http://127.0.0.1:{port}/x.git", timeout=0.5)
    assert statement.stream("repository").reason.startswith("too_slow:")


def test_nothing_of_a_hostile_repository_runs_or_breaks_the_reading(repository: Repository, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    repository.commit(
        {
            b"new\nline.txt": "x",
            "日本/データ.py": "x = 1\n",
            b"bad-\xff.py": "x = 1\n",
            "way-out": "/etc/passwd",
            "src/train.py": "x = 1\n",
            "huge.bin": b"\0" * 3_000_000,
            "lfs.py": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            ".gitmodules": '[submodule "m"]\n\tpath = m\n\turl = ext::sh -c touch% ' + str(trap) + "\n",
            ".gitattributes": "* filter=lfs diff=evil\n",
            "m": b"1" * 40,
        },
        modes={"way-out": "120000", "m": "160000"},
        author="Nobody <>",
        at=99_999_999_999_999,
    )
    repository.commit({"a.py": "x"}, author=" <>", at=0, message="(#1)(#2) " + "(" * 5000)
    for name in ("post-checkout", "post-upload-pack", "pre-receive", "reference-transaction", "post-index-change"):
        hook = repository.folder / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {trap}\n")
        hook.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "uploadpack.packObjectsHook", "filter.lfs.smudge"):
        repository.git("config", key, f"touch {trap}")
    folder = str(repository.folder)
    sink, statement = collected(folder, (folder,))
    assert statement.complete, statement.streams
    found = roles(sink)
    assert found["way-out"][0] == "link"
    assert found["m"][0] == "submodule"
    assert found["new\N{REPLACEMENT CHARACTER}line.txt"][0] == "other"
    assert found["日本/データ.py"] == ("code", "")
    assert "huge.bin" in found
    assert {row["at"] for row in sink.tables["commits"]} == {None}
    assert None in {row["author"] for row in sink.tables["commits"]}
    assert not trap.exists()


def test_a_tree_of_a_hundred_thousand_files_is_cut_and_the_telling_ones_stay(repository: Repository) -> None:
    body = b"".join(b"M 100644 :1 %d/%d.txt\n" % (n % 100, n) for n in range(100_000))
    head = b"blob\nmark :1\ndata 2\nx\n\ncommit refs/heads/main\ncommitter A <a@x> 1790000000 +0000\ndata 1\nx\n"
    repository.git("fast-import", "--quiet", given=head + body + b"M 100644 :1 z/train.py\n\n")
    folder = str(repository.folder)
    sink, statement = collected(folder, (folder,))
    assert statement.complete
    assert "files_cut" in statement.notes
    assert len(sink.tables["repository_files"]) == 50_000
    assert roles(sink)["z/train.py"][0] == "train"
    assert sink.largest_write <= 5000


def test_a_repository_whose_history_is_older_than_two_years_still_has_more_than_one_commit(
    repository: Repository,
) -> None:
    for n in range(4):
        repository.commit({"train.py": f"x = {n}\n"}, at=1_500_000_000 + n)
    folder = str(repository.folder)
    sink, statement = collected(folder, (folder,))
    assert statement.complete, statement.streams
    assert sink.tables["repositories"][0]["commits"] > 1
    assert sink.tables["commits"] == []


def test_an_empty_repository_is_read_as_empty(repository: Repository) -> None:
    folder = str(repository.folder)
    sink, statement = collected(folder, (folder,))
    assert statement.stream("repository").state is Reading.READ
    assert statement.stream("reviews").state is Reading.NOT_SUPPORTED
    assert sink.tables["repositories"][0]["commits"] == 0
    assert sink.tables["repository_files"] == []


def test_a_folder_outside_those_allowed_is_refused_even_behind_a_link(repository: Repository, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(repository.folder)
    for address in (str(repository.folder), str(allowed / "link"), f"{allowed}/../served/lungs.git"):
        with pytest.raises(ConfigError, match="may read"):
            parse({"base_url": address}, folders=(str(allowed),))
    with pytest.raises(ConfigError, match="may read"):
        parse({"base_url": str(repository.folder)})


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "ext::sh -c id"},
        {"base_url": "ssh://x/y"},
        {"base_url": "file:///etc"},
        {"base_url": "https://u:p@x/y"},
        {"base_url": "https://x/y", "branch": "--upload-pack=id"},
        {"base_url": "https://x/y", "branch": "a..b"},
        {"base_url": "https://x/y", "token": "a", "username": "b", "password": "c"},
        {"base_url": "https://x/y", "username": "b"},
        {"base_url": "https://x/y", "shared_packages": "a b;c"},
        {"base_url": "https://x/y", "surprise": 1},
    ],
)
def test_settings_that_could_do_harm_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        parse(settings)


def test_links_lead_to_the_configured_address_alone() -> None:
    at = {"base_url": "https://github.com/a/b.git", "branch": "main"}
    assert link(at, "repositories", "k") == "https://github.com/a/b"
    assert link(at, "commits", "k/abc") == "https://github.com/a/b/commit/abc"
    assert link(at, "repository_files", "k/src/a b?.py") == "https://github.com/a/b/blob/main/src/a%20b%3F.py"
    assert link(at, "repository_files", "k/../../x") is None
    lab = {"base_url": "https://gitlab.com/a/b.git"}
    assert link(lab, "change_requests", "k/3") == "https://gitlab.com/a/b/-/merge_requests/3"
    assert link({"base_url": "/srv/a"}, "commits", "k/abc") is None
    assert link({"base_url": "/srv/a", "web_url": "javascript:alert(1)"}, "commits", "k/abc") is None


def test_the_registry_knows_the_connector_and_its_secrets_stay_out_of_its_words() -> None:
    assert CONNECTORS["git"] == "integrations.connectors.git"
    assert SECRET not in repr(parse({"base_url": "https://x/y", "token": SECRET}))
