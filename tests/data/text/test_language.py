"""The Korean lines, windows of a text, and reading text files in whatever encoding they have."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dltrain import registry
from dltrain.data import IGNORED, Data
from dltrain.data.splitting import SplitSettings, split_indices
from dltrain.data.text.language import THREE_LINES
from dltrain.data.text.reading import read_text
from dltrain.data.text.tokens import END, UNKNOWN, TextCodec, join
from dltrain.errors import DataError

SAME = "there is no validation split: what is evaluated is the training data itself"
WORDS = ("말이", "경마장에", "있는", "뛰고", "있다", "그의", "법이다", "가는", "고와야", "오는", "곱다")


@pytest.fixture
def load(settings_of):
    def build(**changes: Any) -> Data:
        return registry.build("data", settings_of("data", "korean_text", **changes))

    return build


@pytest.fixture
def text_file(tmp_path):
    def write(content: bytes | str, name: str = "글.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def refusal(path: Path | str, encoding: str = "auto") -> str:
    with pytest.raises(DataError) as caught:
        read_text(Path(path), encoding)
    return str(caught.value)


# --- the three lines --------------------------------------------------------------------------------------


def test_the_words_of_the_three_lines_have_these_numbers(load):
    data = load()
    assert data.task.class_names == ("<pad>", *WORDS)
    assert data.task.output_size == data.task.input.vocabulary_size == 12


def test_the_three_lines_give_these_eleven_windows(load):
    data = load()
    # Every beginning of a line of at least two words: five numbers padded on the left, then the target.
    rows = torch.cat((data.train.inputs, data.train.targets[:, None]), dim=1)
    assert rows.tolist() == [
        [0, 0, 0, 0, 2, 3],
        [0, 0, 0, 2, 3, 1],
        [0, 0, 2, 3, 1, 4],
        [0, 2, 3, 1, 4, 5],
        [0, 0, 0, 0, 6, 1],
        [0, 0, 0, 6, 1, 7],
        [0, 0, 0, 0, 8, 1],
        [0, 0, 0, 8, 1, 9],
        [0, 0, 8, 1, 9, 10],
        [0, 8, 1, 9, 10, 1],
        [8, 1, 9, 10, 1, 11],
    ]
    assert data.train.inputs.dtype == data.train.targets.dtype == torch.int64
    assert data.task.kind == "next_token" and data.task.input.shape == (5,)


def test_the_three_lines_are_too_few_to_split_and_it_is_said(load):
    data = load()
    assert data.evaluates_training_data and data.test is None
    assert data.notes == ("3 lines are too few to split (under 20)", SAME)


def test_the_saved_preprocessing_turns_a_prompt_into_a_training_window(load):
    data = load()
    codec = TextCodec.from_dict(data.preprocessing)
    window = codec.window(codec.encode_prompt("경마장에 있는 말이"))
    assert torch.equal(window, data.train.inputs[2:3])


# --- windows ----------------------------------------------------------------------------------------------


def test_a_window_shortens_what_the_model_sees(load):
    data = load(window=2)
    assert data.task.input.shape == (2,)
    assert data.train.inputs.tolist()[:4] == [[0, 2], [2, 3], [3, 1], [1, 4]]
    assert data.train.targets.tolist()[:4] == [3, 1, 4, 5]


LINE = st.lists(st.sampled_from("가나다라마바사"), min_size=1, max_size=6).map(" ".join)


@given(lines=st.lists(LINE, min_size=1, max_size=8), window=st.integers(1, 7))
def test_windows_are_those_of_a_plain_loop_over_the_lines(settings_of, tmp_path_factory, lines, window):
    if all(len(line.split()) < 2 for line in lines):
        lines.append("가 나")
    path = tmp_path_factory.mktemp("lines") / "lines.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    data = registry.build("data", settings_of("data", "korean_text", path=str(path), window=window))
    codec = TextCodec.from_dict(data.preprocessing)
    expected = []
    for words in map(str.split, lines):
        numbers = codec.vocabulary.encode(words)
        expected += [[*codec.window(numbers[:i])[0].tolist(), numbers[i]] for i in range(1, len(words))]
    rows = torch.cat((data.train.inputs, data.train.targets[:, None]), dim=1)
    assert rows.tolist() == expected


@pytest.mark.parametrize(("kind", "form"), [("syllable", "NFC"), ("jamo", "NFD")])
def test_smaller_tokens_give_longer_windows(load, kind, form):
    data = load(tokens=kind, window=100)
    lines = [unicodedata.normalize(form, line) for line in THREE_LINES.splitlines()]
    assert data.task.input.shape == (max(map(len, lines)) - 1,)
    assert len(data.train) == sum(len(line) - 1 for line in lines)
    assert set(data.task.class_names) == {"<pad>", *"".join(lines)}


def test_an_unknown_token_is_seen_but_never_a_target(load):
    data = load(vocabulary_size=2)
    assert data.task.class_names == ("<pad>", "말이", "경마장에", UNKNOWN)
    assert set(data.train.inputs.flatten().tolist()) == {0, 1, 2, 3}
    assert set(data.train.targets.tolist()) == {1}  # 경마장에 stands at a beginning only


def test_many_lines_are_split_by_line_and_the_vocabulary_is_the_training_lines_own(load, text_file):
    path = text_file("".join(f"가 나{i} 다\n" for i in range(40)))
    data = load(path=str(path))
    assert {name: len(samples) for name, samples in data.splits.items() if name != "train"} == {
        "validation": 4,  # the word in the middle is unknown there, so that only 다 is a target
        "test": 4,
    }
    assert len(data.train) == 64
    assert data.task.class_names[-1] == UNKNOWN
    assert data.task.output_size == 1 + 2 + 32 + 1
    assert data.notes == ()


def test_lines_of_one_token_are_left_out_and_counted(load, text_file):
    data = load(path=str(text_file("가 나\n\n다\n라\n")))
    assert len(data.train) == 1
    assert data.notes[0] == "2 lines of a single word are left out: they have nothing to predict"


def test_a_text_with_nothing_to_predict_is_an_error(load, text_file):
    path = text_file("가\n나\n")
    with pytest.raises(DataError) as caught:
        load(path=str(path))
    assert str(caught.value) == (f"data.path={path}: no line with at least two words, so there is nothing to predict")


def test_a_vocabulary_that_keeps_no_target_is_an_error(load):
    with pytest.raises(DataError) as caught:
        load(min_count=9)
    assert str(caught.value) == (
        "the built-in text: no token that the vocabulary keeps follows another. "
        "Lower data.min_count=9 or raise data.vocabulary_size"
    )


def test_an_empty_path_is_no_way_to_the_built_in_text(load):
    # As from `data.path=$FILE` where FILE is not set.
    with pytest.raises(DataError, match=r"^data\.path is empty: name a text file, or leave it out"):
        load(path="")


# --- any tokens, and streams ------------------------------------------------------------------------------


@pytest.fixture
def load_text(settings_of):
    def build(path: Path, **changes: Any) -> Data:
        return registry.build("data", settings_of("data", "text", path=str(path), **changes))

    return build


def test_text_gives_the_windows_of_korean_text(load, load_text, text_file):
    path = text_file("".join(f"가 나{i % 7} 다 라{i % 3}\n" for i in range(40)))
    mine, korean = load_text(path), load(path=str(path))
    assert mine.preprocessing == korean.preprocessing and mine.task == korean.task
    for split in ("train", "validation", "test"):
        assert torch.equal(mine.splits[split].inputs, korean.splits[split].inputs)
        assert torch.equal(mine.splits[split].targets, korean.splits[split].targets)


@pytest.mark.parametrize("name", ["korean_text", "text"])
@pytest.mark.parametrize("tokens", ["bpe", pytest.param("morpheme", marks=pytest.mark.slow)])
def test_tokens_that_a_library_cuts_give_windows_too(settings_of, text_file, name, tokens):
    if tokens == "morpheme":
        pytest.importorskip("kiwipiepy")
    path = text_file(THREE_LINES * 2)
    settings = settings_of("data", name, path=str(path), tokens=tokens, vocabulary_size=60)
    data = registry.build("data", settings)
    codec = TextCodec.from_dict(data.preprocessing)
    line = "그의 말이 법이다"
    numbers = codec.encode_prompt(line)
    row = codec.window(numbers[:-1])[0].tolist()
    rows = torch.cat((data.train.inputs, data.train.targets[:, None]), dim=1).tolist()
    assert [*row, numbers[-1]] in rows
    assert join(codec.vocabulary.decode(numbers), tokens) == line


def test_byte_pairs_of_lines_are_learnt_from_the_training_lines_alone(load_text, text_file):
    lines = [f"바나나 {'나' * (1 + i % 3)}" for i in range(40)]
    data = load_text(text_file("\n".join(lines)), tokens="bpe", vocabulary_size=20)
    trained = {tuple(row) for row in data.train.inputs.tolist()}
    split = split_indices(40, SplitSettings("text", 0.1, 0.1, 0, None, 0))[2]
    for place in split:
        lines[place] = f"{lines[place][:3]} 사과사과사과"
    other = load_text(text_file("\n".join(lines)), tokens="bpe", vocabulary_size=20)
    assert other.preprocessing == data.preprocessing
    assert {tuple(row) for row in other.train.inputs.tolist()} == trained


def test_a_stream_is_cut_into_blocks_with_a_target_at_every_token(load_text, text_file):
    data = load_text(text_file("가 나 다\n\n라 가\n마\n"), form="stream", block=4)
    assert data.task.per_step and data.task.kind == "next_token" and data.task.input.padding == "right"
    assert data.task.class_names == ("<pad>", END, "가", "나", "다", "라", "마")
    assert data.train.inputs.tolist() == [[2, 3, 4, 1], [5, 2, 1, 6]]
    assert data.train.targets.tolist() == [[3, 4, 1, 5], [2, 1, 6, 1]]
    codec = TextCodec.from_dict(data.preprocessing)
    assert join(codec.vocabulary.decode(data.train.inputs.flatten().tolist()), "word") == "가 나 다\n라 가\n마"


def test_the_last_block_is_padded_and_its_padding_is_no_target(load_text, text_file):
    data = load_text(text_file("가 나\n다\n"), form="stream", block=3)
    assert data.train.inputs.tolist() == [[2, 3, 1], [4, 0, 0]]
    assert data.train.targets.tolist() == [[3, 1, 4], [1, IGNORED, IGNORED]]


@given(st.lists(LINE, min_size=1, max_size=60), st.integers(2, 9))
def test_the_blocks_of_all_splits_are_the_stream_in_its_order(settings_of, tmp_path_factory, lines, block):
    path = tmp_path_factory.getbasetemp() / "stream.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    data = registry.build("data", settings_of("data", "text", path=str(path), form="stream", block=block))
    codec = TextCodec.from_dict(data.preprocessing)
    known = codec.vocabulary
    stream = [number for line in lines for number in [*known.encode(line.split()), known.encode([END])[0]]]
    found: list[int] = []
    for name, source in data.splits.items():
        if name == "validation" and data.evaluates_training_data:
            continue
        inputs, targets = source.inputs, source.targets
        tokens = inputs[inputs != 0].tolist()
        last = len(found) + len(tokens)
        following = [IGNORED if number == known.unknown else number for number in stream[len(found) + 1 : last + 1]]
        assert targets[inputs != 0].tolist() == following
        found += [*tokens, stream[last]]  # the last token of a split is a target only
    assert found == stream


def test_a_streamed_text_trains_through_the_command_line(dltrain, work):
    (work / "my.txt").write_text(THREE_LINES * 30, encoding="utf-8")
    answer = dltrain(
        "data=text", "data.path=my.txt", "data.form=stream", "data.block=16", "model=gru", "model.hidden=16",
        "trainer.max_epochs=2", "report=false", "~callbacks.tensorboard",
    )  # fmt: skip
    assert answer.code == 0, answer.err


# --- reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoded_as", "encoding", "note"),
    [
        ("utf-8", "auto", None),
        ("utf-8-sig", "auto", None),
        ("utf-8-sig", "utf-8", None),
        ("utf-16", "auto", "UTF-16"),
        ("utf-16", "utf-16", "UTF-16"),
        ("cp949", "auto", "CP949"),
        ("cp949", "cp949", "CP949"),
        ("euc-kr", "auto", "CP949"),
    ],
)
def test_every_encoding_gives_the_same_text(text_file, encoded_as, encoding, note):
    path = text_file(THREE_LINES.encode(encoded_as))
    text, notes = read_text(path, encoding)
    assert text == THREE_LINES
    assert notes == ([] if note is None else [f"{path} is read as {note}"])


def test_big_endian_utf_16_with_a_mark_is_read(text_file):
    path = text_file(b"\xfe\xff" + "말이\n".encode("utf-16-be"))
    assert read_text(path, "auto")[0] == "말이\n"


@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\ufeff"), min_size=1))
def test_any_utf_8_text_comes_back_as_it_was(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(text.encode())
    if text.strip():
        assert read_text(path, "auto") == (text, [])
    else:
        assert refusal(path) == f"data.path={path}: the file is empty"


@pytest.mark.parametrize("ending", ["\r\n", "\r", "\n"])
def test_line_endings_of_any_system_end_a_line(load, text_file, ending):
    path = text_file(THREE_LINES.replace("\n", ending))
    assert torch.equal(load(path=str(path)).train.inputs, load().train.inputs)


def test_decomposed_hangul_gives_the_same_samples(load, text_file):
    decomposed = unicodedata.normalize("NFD", THREE_LINES)
    assert decomposed != THREE_LINES
    data = load(path=str(text_file(decomposed)))
    assert data.task.class_names == ("<pad>", *WORDS)
    assert torch.equal(data.train.inputs, load().train.inputs)


def test_a_missing_file_is_named_with_its_folder_and_the_nearest_name(text_file):
    path = text_file("가 나", name="corpus.txt")
    missing = path.with_name("corpsu.txt")
    assert refusal(missing) == (
        f"data.path={missing}: there is no such file in {path.parent}. Did you mean 'corpus.txt'?"
    )


def test_a_missing_file_near_none_gives_the_names_of_a_small_folder_only(text_file):
    path = text_file("가 나", name="corpus.txt")
    missing = path.with_name("xyz")
    start = f"data.path={missing}: there is no such file in {path.parent}."
    assert refusal(missing) == f"{start} There is: corpus.txt."
    for i in range(20):
        text_file("가 나", name=f"part{i:02}")
    assert refusal(missing) == start
    near = path.with_name("corpus")
    assert refusal(near) == f"data.path={near}: there is no such file in {path.parent}. Did you mean 'corpus.txt'?"


def test_a_missing_folder_is_named(tmp_path):
    missing = tmp_path / "nowhere" / "a.txt"
    assert refusal(missing) == f"data.path={missing}: there is no such file in {missing.parent}."


def test_a_folder_is_no_file(tmp_path):
    assert refusal(tmp_path) == f"data.path={tmp_path}: this is a folder; give a text file"


def test_a_name_that_no_file_can_have_is_an_error_of_the_data(tmp_path):
    path = tmp_path / ("x" * 300)
    assert refusal(path) == f"data.path={path}: cannot be read: File name too long"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", " \t\n".encode("utf-16")])
def test_an_empty_file_is_an_error(text_file, content):
    path = text_file(content)
    assert refusal(path) == f"data.path={path}: the file is empty"


@pytest.mark.parametrize(
    ("content", "encoding", "place", "names"),
    [
        ("가 나\n다 ".encode() + b"\xff\n", "utf-8", "byte 12 (line 2)", "UTF-8"),
        # A byte order mark counts as bytes of the file.
        (b"\xef\xbb\xbfabc\n\xffz", "utf-8", "byte 7 (line 2)", "UTF-8"),
        # 0xff stands in neither encoding: the place is that of the first one tried.
        ("가 나\n다 ".encode() + b"\xff\n", "auto", "byte 12 (line 2)", "UTF-8 or CP949"),
        ("가 나\n".encode("cp949") + b"\xff", "cp949", "byte 6 (line 2)", "CP949"),
        ("말이\n".encode("utf-16-le") + b"x", "utf-16", "byte 6 (line 2)", "UTF-16"),
        # U+AC0A has the byte 0x0a in UTF-16, and is no end of a line.
        ("\uac0a\uac0a\n".encode("utf-16-le") + b"x", "utf-16", "byte 6 (line 2)", "UTF-16"),
    ],
)
def test_a_bad_byte_is_reported_with_its_place(text_file, content, encoding, place, names):
    path = text_file(content)
    assert refusal(path, encoding) == (
        f"data.path={path}: {place} is not {names}. Save the file as UTF-8, or give data.encoding"
    )


def test_a_file_with_nul_characters_is_no_text(text_file):
    path = text_file(b"ab\0cd\n")
    assert refusal(path) == f"data.path={path}: holds NUL characters, so it is not a text file"


def test_korean_names_of_files_work(load, text_file):
    path = text_file(THREE_LINES, name="한글 (1).txt")
    assert len(load(path=str(path)).train) == 11
