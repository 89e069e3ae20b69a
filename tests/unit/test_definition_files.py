"""Which files a publication is read from: nothing below a directory is left out without a word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fanion.definitions import Loaded, load
from fanion.definitions.reading.limits import PATH_BYTES_MAX
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError

WORLD = (
    "{fanion: 1, organisations: {o: {projects: {p: {environments: {production: {id: e1}}, flags: {%s}}}}}}"
)
MORE = "{fanion: 1, organisations: {o: {projects: {p: {flags: {%s}}}}}}"


def write(path: Path, key: str, form: str = MORE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(form % f"{key}: {{type: boolean, default_value: true}}")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path / "defs" / "a.yaml", "a", WORLD)
    return tmp_path / "defs"


def flags(loaded: Loaded) -> list[str]:
    return sorted({parameter.group for lowered in loaded.environments for parameter in lowered.parameters})


def refused(*paths: Path) -> str:
    with pytest.raises(DefinitionError) as caught:
        load(paths, vocabulary())
    return str(caught.value)


@pytest.mark.parametrize("name", ["B.YAML", "b.Yml", "b.yml", "deep/er/b.yaml"])
def test_suffix_in_any_case_at_any_depth_is_a_definition_file(tree: Path, name: str) -> None:
    write(tree / name, "b")
    assert flags(load([tree], vocabulary())) == ["a", "b"]


def test_json_in_capitals_is_read_as_json(tree: Path) -> None:
    (tree / "B.JSON").write_text("{fanion: 1}")
    assert "not JSON" in refused(tree)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o300])
def test_directory_that_cannot_be_read_is_refused(tree: Path, mode: int) -> None:
    write(tree / "team" / "b.yaml", "b")
    (tree / "team").chmod(mode)
    try:
        assert "can't be read (Permission denied)" in refused(tree)
    finally:
        (tree / "team").chmod(0o700)


def test_directory_whose_listing_fails_is_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tree / "team" / "b.yaml", "b")
    scandir = os.scandir

    def failing(path: Path) -> object:
        if path == tree / "team":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    assert f"{tree}/team: path: can't be read (Permission denied)" in refused(tree)


def test_links_to_directories_and_files_are_followed(tree: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "b.yaml", "b")
    (tree / "linked").symlink_to(tmp_path / "elsewhere")
    (tree / "c.yaml").symlink_to(write(tmp_path / "c.txt", "c"))
    assert flags(load([tree], vocabulary())) == ["a", "b", "c"]


def test_file_that_several_names_lead_to_is_read_once(tree: Path) -> None:
    write(tree / "v2" / "b.yaml", "b")
    (tree / "current").symlink_to("v2")
    (tree / "also.yaml").symlink_to("v2/b.yaml")
    loaded = load([tree, tree / "v2", tree, tree / "v2" / "b.yaml"], vocabulary())
    assert sorted(loaded.sources) == [f"root:{tree}/a.yaml", f"root:{tree}/v2/b.yaml"]


def test_directory_as_kubernetes_mounts_it_is_read(tree: Path) -> None:
    write(tree / "..2026_11_28" / "b.yaml", "b")
    (tree / "..data").symlink_to("..2026_11_28")
    (tree / "b.yaml").symlink_to("..data/b.yaml")
    assert flags(load([tree], vocabulary())) == ["a", "b"]


@pytest.mark.parametrize("name", ["b.yaml", "team"])
def test_dangling_link_is_refused(tree: Path, name: str) -> None:
    (tree / name).symlink_to("nowhere")
    assert "a link that can't be followed (No such file or directory)" in refused(tree)


def test_link_that_leads_to_itself_is_refused(tree: Path) -> None:
    (tree / "b.yaml").symlink_to("b.yaml")
    assert "a link that can't be followed (Too many levels" in refused(tree)


def test_link_back_into_the_tree_is_named_and_read_once(tree: Path) -> None:
    write(tree / "team" / "b.yaml", "b")
    (tree / "team" / "up").symlink_to("..")
    loaded = load([tree], vocabulary())
    assert flags(loaded) == ["a", "b"]
    assert [f"a loop: it leads back to {tree}"] == [warning.found for warning in loaded.warnings]


def test_link_to_what_holds_the_tree_is_refused(tree: Path) -> None:
    (tree / "root").symlink_to("/")
    assert "a loop: it leads back to /" in refused(tree)


def test_pipe_with_the_name_of_a_definition_file_is_refused(tree: Path) -> None:
    os.mkfifo(tree / "b.yaml")
    assert "neither a file nor a directory" in refused(tree)


def test_hidden_entries_and_other_files_are_left_out(tree: Path) -> None:
    (tree / ".#a.yaml").symlink_to("somebody@host.1234")
    write(tree / ".git" / "b.yaml", "b")
    (tree / "README.md").write_text("{")
    assert flags(load([tree], vocabulary())) == ["a"]


def test_name_that_is_not_utf8_is_refused_in_words(tree: Path) -> None:
    odd = os.fsencode(tree) + b"/b\xff.yaml"
    Path(os.fsdecode(odd)).write_text("{fanion: 1}")
    for paths in ([tree], [Path(os.fsdecode(odd))]):
        assert f"{tree}/b\\xff.yaml: path: a name that is not UTF-8" in refused(*paths)


def test_path_is_as_long_as_the_store_can_keep_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    room = PATH_BYTES_MAX - len("defs//.yaml") - 200
    fitting = write(Path("defs") / ("d" * 200) / ("n" * room + ".yaml"), "b")
    assert flags(load([Path("defs")], vocabulary())) == ["a", "b"]
    fitting.rename(fitting.with_name("n" * (room + 1) + ".yaml"))
    assert f"a path of {PATH_BYTES_MAX + 1} bytes" in refused(Path("defs"))


def test_empty_directory_and_missing_paths_are_refused(tree: Path) -> None:
    (tree / "none").mkdir()
    assert "no definition files" in refused(tree / "none")
    assert "can't be read (No such file" in refused(tree / "no.yaml")


@pytest.mark.parametrize("path", ['"a\\0b"', "b" * 400])
def test_reference_that_no_file_can_have_is_refused(tree: Path, path: str) -> None:
    source = f"environments: {{staging: {{id: e2, sources: [{{format: feather, path: {path}}}]}}}}"
    (tree / "b.yaml").write_text(f"{{fanion: 1, organisations: {{o: {{projects: {{p: {{{source}}}}}}}}}}}")
    assert "can't be read (" in refused(tree)
