"""Finding the files of a data set on this machine, or else fetching them.

They are looked for in ``data.root``, in ``$DLTRAIN_DATA``, where Debian's packages put data sets, and among earlier
downloads. Nothing here imports PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dltrain import catalog
from dltrain.catalog import DATASETS, Dataset, File
from dltrain.errors import DataError

SYSTEM = Path("/usr/share/datasets")


def cache_folder() -> Path:
    """Returns the folder of everything that can be made or fetched again."""
    named = os.environ.get("DLTRAIN_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dltrain"


def download_folder(dataset: str) -> Path:
    return cache_folder() / "downloads" / dataset


def locate(dataset: str, root: str | None) -> dict[str, Path]:
    """Returns the files of a data set by the names that the catalog gives them, fetching them if need be.

    A path may be the plain file where the name ends in ``.gz``, or the other way round, and a file may have been
    compressed again: readers look at the content. Of a data set with several choices of files, one choice is there.

    Args:
        dataset: a name in the catalog.
        root: the folder that the user says they lie in (data.root); None looks in the known places.

    Raises:
        ConfigError: no such data set.
        DataError: they are not to be had; the message says which files to put where.
        MachineError: the disk cannot take them.
    """
    known = catalog.find(dataset)
    if not known.choices:
        return {}
    if root is not None:
        return _in_root(known, root)
    found = find(known)
    if found is not None:
        return found
    if not known.can_download:
        raise DataError(missing(known, "there is no place from which dltrain may fetch it"))
    if os.environ.get("DLTRAIN_OFFLINE", "0") not in ("", "0"):
        raise DataError(missing(known, "DLTRAIN_OFFLINE forbids a download"))
    from dltrain.download import fetch

    return fetch(known, download_folder(dataset))


def find(dataset: Dataset) -> dict[str, Path] | None:
    """Returns the files of a data set where they are on this machine already, else None."""
    for folder in known_folders():
        found = _search(dataset, folder, bare=_names_dataset(folder, dataset) or not _has_common_names(dataset))
        if found is not None:
            return found
    files = {file.name: download_folder(dataset.name) / file.name for file in dataset.choices[0]}
    return files if all(_is_file(path) for path in files.values()) else None


def known_folders() -> list[Path]:
    """Returns the folders that hold data sets, the user's first."""
    named = os.environ.get("DLTRAIN_DATA")
    return [*([Path(named).expanduser().absolute()] if named else []), SYSTEM]


def _in_root(dataset: Dataset, root: str) -> dict[str, Path]:
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        what = "a file, not a folder" if folder.exists() else "no folder"
        raise DataError(f"data.root={root}: {folder} is {what}. Name the folder that holds the files of {dataset.name}")
    for other in DATASETS.values():
        if other is not dataset and _names_dataset(folder, other) and _same_names(dataset, other):
            raise DataError(
                f"data.root={root}: this folder is named like {other.name}, whose files have the names of "
                f"{dataset.name}'s. Take data={other.name}, or name the folder of {dataset.name}"
            )
    found = _search(dataset, folder, bare=True)
    if found is None:
        places = ", ".join((dataset.name, *dataset.places))
        lacks = ", ".join(_lacking(dataset, folder))
        raise DataError(
            f"data.root={root}: {lacks} of {dataset.name} lies neither in {folder} nor in its folders {places}.\n"
            + _instructions(dataset)
        )
    return found


def _search(dataset: Dataset, folder: Path, bare: bool) -> dict[str, Path] | None:
    """Returns the files of a data set that lie together in one place of a folder, or None.

    Args:
        bare: they may lie in the folder itself, not only in folders of it that are the data set's own.
    """
    for choice in dataset.choices:
        for place in (*(("",) if bare else ()), dataset.name, *dataset.places):
            paths = {file.name: _path_of(file, folder / place) for file in choice}
            found = {name: path for name, path in paths.items() if path is not None}
            if len(found) == len(choice):
                return found
    return None


def _path_of(file: File, folder: Path) -> Path | None:
    if file.is_folder:
        return folder / file.name if _is_folder(folder / file.name) else None
    return next((folder / name for name in _spellings(file) if _is_file(folder / name)), None)


def _spellings(file: File) -> Iterator[str]:
    for name in (file.name, *file.aliases):
        yield name
        yield name[:-3] if name.endswith(".gz") else f"{name}.gz"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be entered
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # as above
        return False


def _lacking(dataset: Dataset, folder: Path) -> list[str]:
    """Returns the names that are missing where most of the first choice's files are."""
    lists = [
        [file.name for file in dataset.choices[0] if _path_of(file, folder / place) is None]
        for place in ("", dataset.name, *dataset.places)
    ]
    return min(lists, key=len)


def _names_dataset(folder: Path, dataset: Dataset) -> bool:
    """Tells whether a folder's own name is one of the data set's places: .../fashion-mnist, .../MNIST/raw."""
    return any(folder.parts[-len(Path(p).parts) :] == Path(p).parts for p in (dataset.name, *dataset.places))


def _same_names(one: Dataset, other: Dataset) -> bool:
    return bool(_all_names(one) & _all_names(other))


def _has_common_names(dataset: Dataset) -> bool:
    """Tells whether files of these names may well be another data set's."""
    if any(file.is_folder for choice in dataset.choices for file in choice):
        return True  # train and val are everybody's
    return any(other is not dataset and _same_names(dataset, other) for other in DATASETS.values())


def _all_names(dataset: Dataset) -> set[str]:
    return {name for choice in dataset.choices for file in choice for name in _spellings(file)}


# --- what to say where files are missing ------------------------------------------------------------------


def missing(dataset: Dataset, reason: str, details: Sequence[str] = ()) -> str:
    """Returns the message for a data set whose files are not here: why, and which files to put where."""
    named = os.environ.get("DLTRAIN_DATA")
    looked = ", ".join(str(folder) for folder in (*known_folders(), download_folder(dataset.name)))
    count = len(dataset.choices[0])
    files = f"its {count} files are" if count > 1 else "its file is"
    lines = [f"{dataset.name}: {files} not on this machine, and {reason}{':' if details else '.'}"]
    lines += [f"  {detail}" for detail in details]
    lines.append(_instructions(dataset))
    if named and not Path(named).expanduser().is_dir():
        lines.append(f"DLTRAIN_DATA={named} is no folder.")
    lines.append(f"Looked in {looked}.")
    return "\n".join(lines)


def _instructions(dataset: Dataset) -> str:
    """Returns which files to put where, and where each one comes from."""
    choices = [_listing(choice) for choice in dataset.choices]
    one = len(dataset.choices[0]) == 1
    lines = [f"Put {'this file' if one else 'these files'} into a folder and give data.root=FOLDER:"]
    for number, listing in enumerate(choices):
        lines += (["or"] if number else []) + listing
    if dataset.holds:
        lines.append(f"It is {dataset.holds}.")
    if dataset.homepage and not dataset.can_download:
        lines.append(f"It comes from {dataset.homepage} ({dataset.rights}).")
    lines.append(
        f"Or set DLTRAIN_DATA=FOLDER for all data sets, and put {'it' if one else 'them'} into FOLDER/{dataset.name}."
    )
    return "\n".join(lines)


def _listing(files: tuple[File, ...]) -> list[str]:
    width = max(len(file.name) for file in files)
    return [
        f"  {file.name:<{width}}  {megabytes(file.size):>8}  {file.urls[0]}" if file.urls else f"  {file.name}"
        for file in files
    ]


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
