"""No path leaves its claim: links, FIFOs and second names, in listing, opening and writing."""

import os
import socket
from pathlib import Path

import pytest

from penstock.connectors.files.stores import beneath
from worker.pods import APod, a_pod, csv, field

CANARY = "canary-7d31"


def _pod(tmp_path: Path) -> tuple[APod, Path]:
    pod = a_pod(tmp_path, field("a", "string"))
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret.csv").write_text(f"a\n{CANARY}\n")
    (outside / "deep/secret.csv").write_text(f"a\n{CANARY}\n")
    return pod, outside


def test_a_listing_leaves_out_links_fifos_and_sockets_and_enters_no_linked_folder(tmp_path: Path) -> None:
    pod, outside = _pod(tmp_path)
    (pod.data / "good.csv").write_text("a\nx\n")
    (pod.data / "file.csv").symlink_to(outside / "secret.csv")
    (pod.data / "inside.csv").symlink_to(pod.data / "good.csv")
    (pod.data / "environ.csv").symlink_to("/proc/self/environ")
    (pod.data / "folder").symlink_to(outside / "deep")
    (pod.data / "loop").symlink_to(pod.data)
    os.mkfifo(pod.data / "fifo.csv")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(pod.data / "s.csv"))
        report = pod.work()
    assert report.message is None
    assert [row["a"] for row in pod.rows()] == ["x"]


def test_folders_that_lie_very_deep_are_refused(tmp_path: Path) -> None:
    pod, _ = _pod(tmp_path)
    (pod.data / "good.csv").write_text("a\nx\n")
    deep = os.open(pod.data, os.O_RDONLY)
    for _ in range(200):
        os.mkdir("d", dir_fd=deep)
        inner = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    report = pod.work()
    assert report.reason == "WrongSpecification"
    assert report.message is not None
    assert "has folders more than 100 deep" in report.message


@pytest.mark.parametrize("kind", ["link out", "link within", "linked folder", "proc", "fifo", "device"])
def test_a_source_that_names_one_file_reads_a_regular_file_alone(kind: str, tmp_path: Path) -> None:
    pod, outside = _pod(tmp_path)
    name, made = "x.csv", pod.data / "x.csv"
    (pod.data / "real.csv").write_text("a\nx\n")
    match kind:
        case "link out":
            made.symlink_to(outside / "secret.csv")
        case "link within":
            made.symlink_to("real.csv")
        case "linked folder":
            (pod.data / "folder").symlink_to(outside)
            name = "folder/secret.csv"
        case "proc":
            made.symlink_to("/proc/self/environ")
        case "fifo":
            os.mkfifo(made)
        case "device":
            made.symlink_to("/dev/zero")
    pod.connector = {**pod.connector, "url": f"file:///volumes/data/{name}"}
    pod.connector.pop("glob", None)
    report = pod.work()
    assert (report.reason, pod.rows()) == ("WrongSpecification", [])
    assert CANARY not in str(report)
    assert ("is a link" in (report.message or "")) == (kind != "fifo")


def test_a_link_put_between_listing_and_opening_is_not_followed(tmp_path: Path) -> None:
    pod, outside = _pod(tmp_path)
    (pod.data / "sub").mkdir()
    (pod.data / "sub/secret.csv").write_text("a\nx\n")
    entries = [*beneath.walk(pod.data, "")]
    (pod.data / "sub/secret.csv").unlink()
    (pod.data / "sub").rmdir()
    (pod.data / "sub").symlink_to(outside)
    with pytest.raises(beneath.Refused):
        beneath.read(pod.data, entries[0].name)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a\0b", ".", ""])
def test_a_name_that_goes_up_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(beneath.Refused):
        beneath.read(tmp_path, name)


def test_writing_replaces_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    target = tmp_path / "catalog.db"
    target.write_text("whole")
    claim = tmp_path / "claim"
    claim.mkdir()
    for name in ("manifest.json", ".manifest.json.part"):
        (claim / name).symlink_to(target)
    with beneath.written(claim, "manifest.json") as (file, placed):
        file.write(b"new")
        file.flush()
        placed.replace()
    assert (target.read_text(), (claim / "manifest.json").read_text()) == ("whole", "new")
    assert not (claim / "manifest.json").is_symlink()
    (claim / "own.json").symlink_to(target)
    with beneath.written(claim, "own.json") as (_, placed), pytest.raises(FileExistsError):
        placed.new()
    (claim / "folder").symlink_to(tmp_path)
    with pytest.raises(beneath.Refused), beneath.written(claim, "folder/catalog.db"):
        pass
    beneath.remove(claim, "own.json")
    assert target.read_text() == "whole"
    assert sorted(path.name for path in claim.iterdir()) == [".manifest.json.part", "folder", "manifest.json"]


@pytest.mark.parametrize("where", ["catalog.db", "main", "main/things", "main/things/data", "main/things/metadata"])
def test_a_warehouse_with_a_link_in_it_is_refused_and_nothing_is_written_through_it(where: str, tmp_path: Path) -> None:
    pod, outside = _pod(tmp_path)
    (pod.data / "a.csv").write_text("a\nx\n")
    place = pod.warehouse / where
    place.parent.mkdir(parents=True, exist_ok=True)
    target = outside / "other"
    if where.endswith(".db"):
        target.write_text("whole")
    else:
        target.mkdir()
    place.symlink_to(target)
    report = pod.work()
    assert report.reason == "WrongSpecification"
    assert f"{where} in the warehouse is a link" in (report.message or "")
    assert target.read_text() == "whole" if where.endswith(".db") else not [*target.iterdir()]


def test_a_catalog_with_a_second_name_is_refused(tmp_path: Path) -> None:
    pod, outside = _pod(tmp_path)
    (outside / "catalog.db").write_bytes(b"")
    pod.warehouse.mkdir(parents=True, exist_ok=True)
    os.link(outside / "catalog.db", pod.warehouse / "catalog.db")
    (pod.data / "a.csv").write_text("a\nx\n")
    assert "has a second name, a hard link" in (pod.work().message or "")


def test_a_file_is_the_same_where_only_its_inode_has_changed(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "string"), form=csv())
    file = pod.data / "a.csv"
    file.write_text("a\nx\n")
    assert pod.work().datasets[0].counts.read == 1
    status = file.stat()
    copy = pod.data.parent / "copy"
    copy.write_bytes(file.read_bytes())
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.replace(file)
    assert file.stat().st_ino != status.st_ino
    assert pod.work("r2").datasets[0].counts.read == 0
