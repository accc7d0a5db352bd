"""What ``dltrain generate`` prints: the texts that a model writes for one prompt, or for each line of the input."""

from __future__ import annotations

import json
import sys

from dltrain.author import Author
from dltrain.console import log
from dltrain.errors import ConfigError, DataError
from dltrain.generate import Choice
from dltrain.prediction.lines import Lines, is_whole

# What stands for a line break where each text has one line.
_BREAK = " ⏎ "


class Desk:
    """Lets an author write, and prints the texts."""

    def __init__(self, author: Author, choice: Choice, num_tokens: int | None, *, as_json: bool, streams: bool) -> None:
        """
        Args:
            num_tokens: as for ``Author.write``.
            as_json: prints an object for each prompt, with its texts.
            streams: prints a single text while it is written.
        """
        self._author, self._choice, self._num_tokens = author, choice, num_tokens
        self._as_json, self._streams = as_json, streams

    def write(self, prompt: str) -> None:
        """
        Raises:
            ConfigError: the prompt is empty, or the model has never seen it.
        """
        self._write(prompt, "\n")

    def write_all(self, lines: Lines) -> int:
        """Writes for each line, and prints as many lines (without ``as_json`` and several samples) as there are.

        Returns:
            The exit code. A line that is no prompt is reported with its number, and an empty one is printed for it.

        Raises:
            DataError: what comes is no text.
        """
        code = 0
        for line in lines:
            number = lines.number
            if number > 1 and self._choice.samples > 1 and not self._as_json:
                self._print("")  # between the texts of one prompt and those of the next
            prompt = line.rstrip("\r\n")
            if not is_whole([prompt]):
                prompt = prompt.encode("utf-8", "replace").decode()
                problem = f"it is no {lines.encoding.upper()} text"
            else:
                try:
                    self._write(prompt, _BREAK)
                    continue
                except ConfigError as error:
                    problem = str(error)
            log.warning("line %d: %s", number, problem)
            self._print(json.dumps({"prompt": prompt, "error": problem}, ensure_ascii=False) if self._as_json else "")
            code = DataError.exit_code
        return code

    def _write(self, prompt: str, line_break: str) -> None:
        """
        Args:
            line_break: what is printed for one in a text.
        """
        if self._streams:
            self._stream(prompt, line_break)
            return
        texts = self._author.write(prompt, self._num_tokens, self._choice)
        if self._as_json:
            self._print(json.dumps({"prompt": prompt, "texts": texts}, ensure_ascii=False))
        elif self._choice.samples == 1:
            self._print(texts[0].replace("\n", line_break))
        else:
            width = len(str(len(texts))) + 2
            for number, text in enumerate(texts, 1):
                label = f"[{number}]".rjust(width)
                self._print(f"{label} {text}".replace("\n", f"\n{' ' * (width + 1)}"))

    def _stream(self, prompt: str, line_break: str) -> None:
        begun = False

        def show(piece: str) -> None:
            nonlocal begun
            begun = True
            print(piece.replace("\n", line_break), end="", flush=True)

        try:
            self._author.write(prompt, self._num_tokens, self._choice, show)
        except KeyboardInterrupt:
            if begun:
                self._print("")  # what comes next begins on a line of its own
            raise
        self._print("")

    @staticmethod
    def _print(text: str) -> None:
        print(text, file=sys.stdout, flush=True)
