"""Where files are looked for, and that a download leaves a whole file or none, whatever the server does."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from fileserver import serving

from dltrain import catalog, download, files
from dltrain.catalog import Dataset, File
from dltrain.errors import ConfigError, DataError, MachineError
from dltrain.files import locate

CONTENT = random.Random(0).randbytes(700_000)
SECOND = random.Random(1).randbytes(50_000)
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(autouse=True)
def empty_machine(work, monkeypatch):
    """No data anywhere, and an empty cache."""
    for name in ("DLTRAIN_DATA", "DLTRAIN_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DLTRAIN_CACHE", str(work / "cache"))
    monkeypatch.setattr(files, "SYSTEM", work / "system")
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def server():
    with serving() as state:
        state.files = {"/a.bin": CONTENT, "/b.bin": SECOND}
        yield state


def entry(*urls: str, content: bytes = CONTENT, name: str = "a.bin", algorithm: str = "sha256") -> File:
    return File(name, len(content), f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}", urls)


@pytest.fixture
def published(server, monkeypatch):
    """Puts a data set of two files on the server into the catalog."""

    def publish(*choice: File) -> Dataset:
        chosen = choice or (
            entry(f"{server.url}/a.bin"),
            entry(f"{server.url}/b.bin", content=SECOND, name="b.bin", algorithm="md5"),
        )
        dataset = Dataset("toy", "nothing", "2 files", "CC0", "http://example.org/toy", choices=(chosen,))
        monkeypatch.setitem(catalog.DATASETS, "toy", dataset)
        return dataset

    publish()
    return publish


def kept(work) -> dict[str, int]:
    """Returns the files of the download folder with their sizes; the lock does not count."""
    folder = work / "cache" / "downloads" / "toy"
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != ".lock"}


def put(folder, *names: str, content: bytes = b"x") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)


# --- files that are here ----------------------------------------------------------------------------------


def test_real_files_are_found_where_they_lie(monkeypatch):
    from realdata import folder, need

    need("mnist/train-images-idx3-ubyte.gz")
    monkeypatch.setenv("DLTRAIN_DATA", str(folder()))
    found = locate("mnist", None)
    assert set(found) == {f"{name}.gz" for name in IDX}
    assert all(path.parent == folder() / "mnist" for path in found.values())
    assert locate("nsmc", None)["ratings_test.txt"] == folder() / "nsmc_rebuilt" / "ratings_test.txt.gz"
    assert locate("chatbot", None) == {"ChatbotData.csv": folder() / "korean" / "ChatbotData.csv"}


def test_the_users_folder_comes_before_the_systems_and_that_before_a_download(work, monkeypatch):
    put(work / "cache" / "downloads" / "mnist", *(f"{name}.gz" for name in IDX))
    assert locate("mnist", None)[f"{IDX[0]}.gz"].parent == work / "cache" / "downloads" / "mnist"
    put(work / "system" / "mnist", *IDX)
    assert locate("mnist", None)[f"{IDX[0]}.gz"] == work / "system" / "mnist" / IDX[0]
    put(work / "mine" / "MNIST" / "raw", *IDX)  # as torchvision leaves them
    monkeypatch.setenv("DLTRAIN_DATA", str(work / "mine"))
    assert locate("mnist", None)[f"{IDX[0]}.gz"].parent == work / "mine" / "MNIST" / "raw"
    put(work / "here", *(name.replace("-idx", ".idx") for name in IDX))  # another common spelling
    assert locate("mnist", "here")[f"{IDX[3]}.gz"] == work / "here" / "t10k-labels.idx1-ubyte"


def test_a_compressed_table_is_found_by_its_plain_name(work, monkeypatch):
    put(work / "mine", "boston_housing.csv.gz", content=gzip.compress(b"a,b\n"))
    monkeypatch.setenv("DLTRAIN_DATA", str(work / "mine"))
    assert locate("boston_housing", None) == {"boston_housing.csv": work / "mine" / "boston_housing.csv.gz"}


def test_either_archive_of_cifar_will_do(work):
    put(work / "d", "cifar-10-binary.tar.gz")
    assert list(locate("cifar10", "d")) == ["cifar-10-binary.tar.gz"]
    put(work / "d", "cifar-10-python.tar.gz")
    assert list(locate("cifar10", "d")) == ["cifar-10-python.tar.gz"]


def test_files_of_the_same_names_are_not_taken_for_another_data_set(work, monkeypatch):
    put(work / "all" / "fashion-mnist", *IDX)
    monkeypatch.setenv("DLTRAIN_OFFLINE", "1")
    for named in (work / "all", work / "all" / "fashion-mnist"):
        monkeypatch.setenv("DLTRAIN_DATA", str(named))
        assert locate("fashion_mnist", None)[f"{IDX[0]}.gz"] == work / "all" / "fashion-mnist" / IDX[0]
        with pytest.raises(DataError, match="mnist: its 4 files are not on this machine"):
            locate("mnist", None)
    with pytest.raises(DataError) as error:
        locate("mnist", str(work / "all" / "fashion-mnist"))
    assert str(error.value) == (
        f"data.root={work}/all/fashion-mnist: this folder is named like fashion_mnist, whose files have the names of "
        "mnist's. Take data=fashion_mnist, or name the folder of mnist"
    )


def test_files_that_lie_in_two_places_are_no_set(work, monkeypatch):
    put(work / "mine" / "nsmc", "ratings_train.txt")
    put(work / "mine" / "nsmc_rebuilt", "ratings_test.txt")
    monkeypatch.setenv("DLTRAIN_DATA", str(work / "mine"))
    monkeypatch.setenv("DLTRAIN_OFFLINE", "1")
    with pytest.raises(DataError, match="nsmc: its 2 files are not on this machine"):
        locate("nsmc", None)


# --- files that are not here ------------------------------------------------------------------------------


def test_a_root_that_is_no_folder(work):
    put(work, "afile")
    with pytest.raises(DataError, match=r"^data.root=nowhere: .*/nowhere is no folder. Name the folder that holds"):
        locate("mnist", "nowhere")
    with pytest.raises(DataError, match=r"^data.root=afile: .*/afile is a file, not a folder."):
        locate("mnist", "afile")


def test_a_root_without_the_files_says_which_are_missing_and_fetches_nothing(work, server, published):
    put(work / "d" / "toy", "a.bin")
    with pytest.raises(DataError) as error:
        locate("toy", "d")
    assert str(error.value).splitlines() == [
        f"data.root=d: b.bin of toy lies neither in {work}/d nor in its folders toy.",
        "Put these files into a folder and give data.root=FOLDER:",
        f"  a.bin    0.7 MB  {server.url}/a.bin",
        f"  b.bin   50.0 kB  {server.url}/b.bin",
        "Or set DLTRAIN_DATA=FOLDER for all data sets, and put them into FOLDER/toy.",
    ]
    assert server.asked == []


def test_what_no_one_may_publish_must_be_put_there(work, monkeypatch):
    monkeypatch.setenv("DLTRAIN_DATA", "nowhere")
    with pytest.raises(DataError) as error:
        locate("insurance_fraud", None)
    assert str(error.value).splitlines() == [
        "insurance_fraud: its file is not on this machine, and there is no place from which dltrain may fetch it.",
        "Put this file into a folder and give data.root=FOLDER:",
        "  insurance_fraud.csv",
        "It is a CSV with a header: the customer's number CUST_ID, the target SIU_CUST_YN (Y or N), any other columns.",
        "Or set DLTRAIN_DATA=FOLDER for all data sets, and put it into FOLDER/insurance_fraud.",
        "DLTRAIN_DATA=nowhere is no folder.",
        f"Looked in {work}/nowhere, {work}/system, {work}/cache/downloads/insurance_fraud.",
    ]


def test_offline_nothing_is_asked(server, published, monkeypatch):
    monkeypatch.setenv("DLTRAIN_OFFLINE", "1")
    with pytest.raises(DataError, match="toy: its 2 files are not on this machine, and DLTRAIN_OFFLINE forbids"):
        locate("toy", None)
    assert server.asked == []
    monkeypatch.setenv("DLTRAIN_OFFLINE", "0")
    assert set(locate("toy", None)) == {"a.bin", "b.bin"}


def test_an_unknown_name():
    with pytest.raises(ConfigError, match=r"^no data set named 'mnits'. Did you mean 'mnist'\?$"):
        locate("mnits", None)


def test_what_needs_no_files_has_none():
    assert locate("iris", None) == {}


# --- downloads --------------------------------------------------------------------------------------------


def test_a_download_tells_what_it_is_and_is_whole(work, server, published, capsys):
    found = locate("toy", None)
    assert {name: path.read_bytes() for name, path in found.items()} == {"a.bin": CONTENT, "b.bin": SECOND}
    assert capsys.readouterr().err.splitlines() == [
        "toy: 2 files. Rights: CC0. About it: http://example.org/toy",
        f"downloading 2 files, 0.8 MB, to {work}/cache/downloads/toy",
        "  a.bin",
        "  b.bin",
    ]
    assert kept(work) == {"a.bin": len(CONTENT), "b.bin": len(SECOND)}
    assert locate("toy", None) == found
    assert len(server.asked) == 2  # the second time nothing is asked
    assert oct(found["a.bin"].stat().st_mode & 0o777) == oct(0o666 & ~_umask())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def failed(work) -> str:
    """Returns the message of a download that fails; nothing may lie under the final name."""
    with pytest.raises(DataError) as error:
        locate("toy", None)
    assert "a.bin" not in kept(work)
    assert error.value.exit_code == 3
    return str(error.value)


def test_a_wrong_file_of_the_right_size(work, server, published):
    other = bytes(len(CONTENT))
    server.files["/a.bin"] = other
    told = failed(work)
    assert told.splitlines()[:2] == [
        "toy: its 2 files are not on this machine, and what there is to download is not a.bin:",
        f"  {server.url}/a.bin: expected sha256 {hashlib.sha256(CONTENT).hexdigest()}, "
        f"got {hashlib.sha256(other).hexdigest()}",
    ]
    assert f"  a.bin    0.7 MB  {server.url}/a.bin" in told
    assert kept(work) == {}


def test_a_body_that_ends_too_early_though_the_server_calls_it_whole(work, server, published):
    server.faults["/a.bin"] = [("short", 1000)] * 9
    told = failed(work)
    got = hashlib.sha256(CONTENT[:1000]).hexdigest()
    assert f"got {got}, and 1,000 bytes instead of 700,000\n" in told
    assert kept(work) == {}


def test_a_body_without_an_end(work, server, published):
    server.faults["/a.bin"] = [("endless",)]
    assert f"  {server.url}/a.bin: it has more than the 700,000 bytes of the published file\n" in failed(work)
    assert kept(work) == {}


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Log in</title>", b"\n <html><body>Sorry</body></html>"])
def test_a_web_page_instead_of_data(work, server, published, page):
    server.files["/a.bin"] = page
    assert f"  {server.url}/a.bin: it is a web page, as a login or a proxy sends it\n" in failed(work)
    assert kept(work) == {}


def test_a_file_that_is_gone(work, server, published):
    del server.files["/a.bin"]
    told = failed(work)
    assert told.startswith("toy: its 2 files are not on this machine, and a.bin cannot be downloaded:\n")
    assert f"  {server.url}/a.bin: the server answers 404 Not Found\n" in told
    assert server.asked == [("/a.bin", 0)]


def test_nothing_listens(work, published):
    published(entry("http://127.0.0.1:9/a.bin"))
    assert "  http://127.0.0.1:9/a.bin: 127.0.0.1 refuses the connection\n" in failed(work)


def test_a_name_that_does_not_exist(work, published):
    published(entry("http://nowhere.invalid/a.bin"))
    start = time.monotonic()
    assert "the name nowhere.invalid cannot be looked up. Is there a network?\n" in failed(work)
    assert time.monotonic() - start < 5


def test_the_next_url_is_tried(work, server, published):
    server.files["/page"] = b"<html>"
    published(entry("http://127.0.0.1:9/a.bin", f"{server.url}/page", f"{server.url}/a.bin"))
    assert locate("toy", None)["a.bin"].read_bytes() == CONTENT
    assert kept(work) == {"a.bin": len(CONTENT)}


def test_a_cut_connection_goes_on_where_it_ended(work, server, published):
    server.faults["/a.bin"] = [("cut", 300_000), ("503",), ("cut", 100_000)]
    assert locate("toy", None)["a.bin"].read_bytes() == CONTENT
    starts = [first for path, first in server.asked if path == "/a.bin"]
    assert starts == [0, 300_000, 300_000, 400_000]


def test_a_server_without_ranges_is_asked_from_the_start(work, server, published):
    server.ranges = False
    server.faults["/a.bin"] = [("cut", 300_000)]
    assert locate("toy", None)["a.bin"].read_bytes() == CONTENT
    assert [path for path, _ in server.asked].count("/a.bin") == 2


def test_a_download_that_gives_up_is_gone_on_with_in_the_next_run(work, server, published):
    server.faults["/a.bin"] = [("cut", 300_000), *[("cut", 0)] * 3]
    told = failed(work)
    assert (
        f"  {server.url}/a.bin: the connection was cut; 300,000 of 700,000 bytes are here, and the next attempt goes "
        "on there\n" in told
    )
    assert kept(work) == {".a.bin.part": 300_000}
    server.asked.clear()
    assert locate("toy", None)["a.bin"].read_bytes() == CONTENT
    assert server.asked[0] == ("/a.bin", 300_000)
    assert kept(work) == {"a.bin": len(CONTENT), "b.bin": len(SECOND)}


@pytest.mark.parametrize("part", [b"", b"z" * 1000, b"z" * len(CONTENT), b"z" * (len(CONTENT) + 1), CONTENT])
def test_whatever_an_earlier_run_left(work, server, published, part):
    put(work / "cache" / "downloads" / "toy", ".a.bin.part", content=part)
    put(work / "cache" / "downloads" / "toy", "tmpabcdefgh")  # of a killed pooch
    assert locate("toy", None)["a.bin"].read_bytes() == CONTENT
    assert kept(work) == {"a.bin": len(CONTENT), "b.bin": len(SECOND)}


def test_a_silent_server(work, server, published, monkeypatch):
    monkeypatch.setattr(download, "SILENT_SECONDS", 0.2)
    server.faults["/a.bin"] = [("silent", 2**17, 0.5), *[("silent", 0, 0.5)] * 3]
    assert "silent for 0.2 s; 131,072 of 700,000 bytes are here" in failed(work)


def test_a_slow_server_is_waited_for(server, published):
    server.faults["/a.bin"] = [("slow", 0.05)]
    assert locate("toy", None)["a.bin"].read_bytes() == CONTENT


# --- two at once, signals, disks --------------------------------------------------------------------------

SCRIPT = """
import sys
from dltrain import catalog, cli, files
from dltrain.catalog import Dataset, File
url, size, digest = sys.argv[1:]
catalog.DATASETS["toy"] = Dataset(
    "toy", "nothing", "1 file", "CC0", "", choices=((File("a.bin", int(size), digest, (url,)),),)
)
cli._dispatch = lambda arguments: print(files.locate("toy", None)["a.bin"].stat().st_size) or 0
sys.exit(cli.run([]))
"""


def start(server, work) -> subprocess.Popen[str]:
    """Starts a process of its own that wants the data set."""
    file = entry(f"{server.url}/a.bin")
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *file.urls, str(file.size), file.hash],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_at_once_download_it_once(work, server, published):
    server.faults["/a.bin"] = [("slow", 0.1)]
    first = start(server, work)
    while not server.asked:
        time.sleep(0.01)
    second = start(server, work)
    answers = [process.communicate(timeout=60) for process in (first, second)]
    assert [out for out, _ in answers] == [f"{len(CONTENT)}\n"] * 2
    assert answers[1][1] == "toy is being downloaded by another process: waiting for it\n"
    assert server.asked == [("/a.bin", 0)]
    assert kept(work) == {"a.bin": len(CONTENT)}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_download_is_gone_on_with(work, server, published, number, code):
    server.faults["/a.bin"] = [("silent", 400_000, 20)]
    process = start(server, work)
    part = work / "cache" / "downloads" / "toy" / ".a.bin.part"
    while not part.is_file() or part.stat().st_size < 200_000:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    assert "a.bin" not in kept(work)
    again = start(server, work)
    assert again.communicate(timeout=60)[0] == f"{len(CONTENT)}\n"
    assert server.asked[1][1] >= 200_000
    assert kept(work) == {"a.bin": len(CONTENT)}


def test_a_disk_without_room_is_told_before_anything_is_asked(server, published, monkeypatch):
    monkeypatch.setattr(download, "free_megabytes", lambda folder: 0.5)
    with pytest.raises(MachineError, match=r"toy: the disk of .* is too full: 0.8 MB to download, 0.5 MB free"):
        locate("toy", None)
    assert server.asked == []


def test_a_folder_that_cannot_be_written(work, server, published, monkeypatch):
    put(work, "afile")
    monkeypatch.setenv("DLTRAIN_CACHE", str(work / "afile"))
    with pytest.raises(MachineError, match=r"afile/downloads/toy cannot be written: Not a directory. Name another"):
        locate("toy", None)
    assert server.asked == []
