"""Prints the completion script of a shell. To switch it on:

bash  echo 'eval "$(dltrain completion bash)"' >> ~/.bashrc
zsh   echo 'eval "$(dltrain completion zsh)"' >> ~/.zshrc     (after compinit)
fish  dltrain completion fish > ~/.config/fish/completions/dltrain.fish
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from dltrain import config_files, run_folder

_BASH = """\
_dltrain() {
    local IFS=$' \\t\\n' line="${COMP_LINE:0:$COMP_POINT}" before
    local word="${line##*[[:space:]]}"
    read -ra before <<< "${line%"$word"}"
    IFS=$'\\n'
    COMPREPLY=($(dltrain __complete "$COMP_CWORD" -- "${before[@]}" "$word" 2>/dev/null))
    # bash cuts words at '=' too: what stands before it is typed already
    if [[ "$word" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        COMPREPLY=("${COMPREPLY[@]#${word%%=*}=}")
    fi
    [[ "${COMPREPLY[0]}" == *[=.] ]] && compopt -o nospace 2>/dev/null
}
complete -F _dltrain dltrain
"""

_ZSH = """\
_dltrain() {
    local -a found
    found=(${(f)"$(dltrain __complete $((CURRENT-1)) -- "${words[@]}" 2>/dev/null)"})
    compadd -S '' -- ${(M)found:#*[=.]}
    compadd -- ${found:#*[=.]}
}
compdef _dltrain dltrain
"""

_FISH = """\
complete -c dltrain -f -a '(dltrain __complete 1 -- (commandline -opc) (commandline -ct) 2>/dev/null)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

_WITH_RUN = ("resume", "rerun", "evaluate", "predict", "generate", "compare", "report", "export", "board")
_MOST_RUNS = 50
_WITH_CONFIG = ("lr-find", "summary", "check", "explain")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(SCRIPTS))


def run(arguments: argparse.Namespace) -> int:
    print(SCRIPTS[arguments.shell], end="")
    return 0


def complete(arguments: list[str]) -> int:
    """Prints what the last word of a command line can become, a line each: ``__complete N -- dltrain WORD...``."""
    words = arguments[arguments.index("--") + 2 :] if "--" in arguments else []
    word = words[-1] if words else ""
    for candidate in candidates(words[:-1], word):
        print(candidate)
    return 0


def candidates(before: list[str], word: str) -> list[str]:
    """Returns what a word can become, given the words before it."""
    from dltrain.cli import VERBS

    verb = before[0] if before and before[0] in VERBS else None
    found: list[str] = []
    if not before:
        found += VERBS
    if verb == "list":
        found += config_files.GROUPS
    elif verb == "data":
        found += _data_words(before[1:], word)
    elif verb == "completion":
        found += SCRIPTS
    elif verb in _WITH_RUN:
        found += ["last", *_runs(word)] if "=" not in word else []
        if verb in ("resume", "compare"):
            found += _settings(word)
    elif verb == "runs":
        found += ["prune"] if len(before) == 1 else []
        found += _settings(word)
    elif verb is None or verb in _WITH_CONFIG:
        found += _settings(word, explain=verb == "explain")
    return [candidate for candidate in found if candidate.startswith(word)]


def _runs(word: str) -> list[str]:
    """Returns the runs that a word may become, trials included, at most so many: the one trained last stands last."""
    from dltrain.results import folders

    root = run_folder.RUNS
    paths = [*folders.single_runs(root), *(path for sweep in folders.sweeps(root) for path in folders.trials(sweep))]
    return folders.newest_first([path for path in paths if path.startswith(word)])[:_MOST_RUNS][::-1]


def _data_words(before: list[str], word: str) -> Iterator[str]:
    """Yields the actions of ``data``; then data sets by name, and settings as for training."""
    from dltrain.commands.data import ACTIONS

    if not before:
        yield from ACTIONS
    elif before[0] in ("prepare", "show"):
        if "=" not in word:
            yield from config_files.options("data")
        yield from _settings(word)


def _settings(word: str, explain: bool = False) -> Iterator[str]:
    """Yields ``group=option`` and ``key=``; a group's own keys only once its name and a dot are typed."""
    for group in config_files.GROUPS:
        if word.startswith(f"{group}="):
            yield from (f"{group}={name}" for name in config_files.options(group))
            return
    group, dot, _ = word.partition(".")
    if not dot:
        yield from (f"{group}=" for group in config_files.GROUPS if not explain)
        yield from (
            f"{group}." for group in config_files.GROUPS if group != "experiment" and (explain or group != "loss")
        )
        yield from (key if explain else f"{key}=" for key in ("seed", "run_dir", "imports", "report"))
        return
    keys: dict[str, None] = {}
    files = [config_files.values_if_readable(path) for path in config_files.options(group).values()]
    for values in [*files, config_files.entry_values()]:
        for key in config_files.flatten(values):
            if key.startswith(f"{group}.") and not key.endswith(".name"):
                keys[key if explain else f"{key}="] = None
    yield from keys
