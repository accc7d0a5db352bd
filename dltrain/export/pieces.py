"""The pieces of which the example in an export's README is put together: code that needs neither dltrain nor a model.

A name in capitals between two ``@`` is filled in.
"""

from __future__ import annotations

# --- asking the model, by format --------------------------------------------------------------------------

RUN_ONNX = '''\
session = onnxruntime.InferenceSession(@FILE@, providers=["CPUExecutionProvider"])


def run(inputs):
    """Takes arrays by input name and returns arrays by output name."""
    names = [output["name"] for output in described["outputs"]]
    return dict(zip(names, session.run(names, inputs)))
'''

RUN_TORCH = '''\
program = torch.export.load(@FILE@).module()


def run(inputs):
    """Takes arrays by input name and returns arrays by output name."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.no_grad():
        outputs = program(@GIVEN@)
    return @OUTPUTS@
'''

RUN_WEIGHTS = '''\
model = load(".")  # builds what model.json names, and gives it the weights of model.safetensors


def run(inputs):
    """Takes arrays by input name and returns arrays by output name."""
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.no_grad():
        outputs = model(@GIVEN@)
    return @OUTPUTS@
'''

# --- making the inputs ------------------------------------------------------------------------------------

TABLE = '''\
def rows_to_array(rows, made):
    """Turns rows, each a dict of column: cell, into an array (rows, numbers)."""
    array = np.zeros((len(rows), made["shape"][1]), dtype=np.float32)
    for place, row in enumerate(rows):
        for feature in made["features"]:
            name, first = feature["column"], feature["position"]
            cell = row.get(name)
            is_empty = cell is None or cell == "" or cell != cell
            if feature["kind"] == "category":
                names = feature["categories"]
                text = unicodedata.normalize("NFC", str(cell))
                code = feature["empty_code"] if is_empty else names.index(text) + 1 if text in names else 0
                if code is None:
                    raise ValueError(f"{name} is empty")
                if feature["encoding"] == "code":
                    array[place, first] = code
                elif code >= feature["first_code"]:
                    array[place, first + code - feature["first_code"]] = 1
                continue
            if feature["kind"] == "boolean" and isinstance(cell, str) and not is_empty:
                truths = dict.fromkeys(feature["true"], 1) | dict.fromkeys(feature["false"], 0)
                cell = truths[cell.casefold()]
            number = feature["fill"] if is_empty else float(str(cell).replace(made["decimal"], "."))
            if number is None:
                raise ValueError(f"{name} is empty")
            array[place, first] = (number - feature["shift"]) / feature["scale"]
    return array
'''

TABLE_OF_NUMBERS = '''\
def rows_to_array(rows, made):
    """Turns rows, each a dict of column: number, into an array (rows, numbers)."""
    array = np.zeros((len(rows), made["shape"][1]), dtype=np.float32)
    for place, row in enumerate(rows):
        for feature in made["features"]:
            cell = row.get(feature["column"])
            number = feature["fill"] if cell is None else cell
            array[place, feature["position"]] = (number - feature["shift"]) / feature["scale"]
    return array
'''

NUMBERS = '''\
def numbers_to_array(numbers, made):
    """Turns samples of numbers into an array (samples, ...)."""
    flat = np.array(numbers, dtype=np.float64).reshape(len(numbers), -1)
    scaled = (flat - np.array(made["shift"])) / np.array(made["scale"])
    return scaled.astype(np.float32).reshape(-1, *made["shape"][1:])
'''

IMAGE = '''\
def image_to_array(path, made):
    """Reads an image file as an array (1, channels, height, width)."""
    size, mode = (made["width"], made["height"]), "L" if made["channels"] == 1 else "RGB"
    image = Image.open(path)
    if image.format == "JPEG":  # which is decoded at a smaller size where that is enough
        lies = image.getexif().get(0x0112, 1) >= 5
        image.draft(None, (2 * size[lies], 2 * size[not lies]))
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.new("RGB", clear.size, (255, 255, 255))
        image.paste(clear, mask=clear)
    image = image.convert(mode)
    if image.size != size:
        if made["resize"] == "crop":
            image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        elif made["resize"] == "pad":
            image = ImageOps.pad(image, size, Image.Resampling.BILINEAR)
        else:
            image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.float32).reshape(size[1], size[0], made["channels"])
    shift, scale = (np.array(made[name], dtype=np.float32) for name in ("shift", "scale"))
    return ((pixels - shift) / scale).transpose(2, 0, 1)[None]
'''

SERIES = '''\
def window_to_array(rows, made):
    """Turns the last rows of a series, each a list of a value for each column, into an array (1, rows, columns)."""
    values = np.array(rows, dtype=np.float64)
    if made["differences"]:
        values = np.diff(values, axis=0)
    values = values[-made["window"] :]
    scaled = (values - np.array(made["shift"])) / np.array(made["scale"])
    return scaled.astype(np.float32)[None]
'''

TOKENS = '''\
def tokens_of(text, made):
    """Cuts a text into tokens."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return @TOKENS@


def numbers_of(text, made):
    """Returns the numbers of a text's tokens."""
    vocabulary = {token: number for number, token in enumerate(made["vocabulary"]) if number}
    numbers = [vocabulary.get(token, made["unknown"]) for token in tokens_of(text, made)]
    if None in numbers:
        raise ValueError("the model knows only " + ", ".join(made["vocabulary"][1:]))
    numbers = numbers[-made["longest"] :] if made["keep"] == "last" else numbers[: made["longest"]]
    return numbers or [made["unknown"]] * made["empty_is_unknown"]
'''

# How a text is cut, by what a token is.
CUTS = {
    "word": "text.split()",
    "syllable": "list(text)",
    "jamo": 'list(unicodedata.normalize("NFD", text))',
    "bpe": 'Tokenizer.from_file(made["tokenizer"]).encode(text).tokens',
    "morpheme": 'list(f"{morpheme.form}/{morpheme.tag}" for morpheme in Kiwi().tokenize(text))',
}

PADDED = '''\
def padded(numbers, made):
    """Fills token numbers up, as an array (1, tokens)."""
    missing = [made["padding"]] * (made["pad_to"] - len(numbers))
    whole = missing + numbers if made["padding_side"] == "left" else numbers + missing
    return np.array([whole], dtype=np.int64)
'''

BAG = '''\
def bag(numbers, made):
    """Tells which tokens a text holds, or how often, as an array (1, tokens of the vocabulary)."""
    array = np.zeros((1, made["width"]), dtype=np.float32)
    for number in numbers:
        if number <= made["width"]:
            array[0, number - 1] = array[0, number - 1] + 1 if made["counts"] else 1
    return array
'''

# --- understanding the outputs ----------------------------------------------------------------------------

SOFTMAX = '''\
def softmax(logits):
    """Turns the logits of classes into their probabilities."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)
'''

CLASS = '''\
def class_of(logits, output):
    """Returns the class of a sample, and its probability."""
    chances = softmax(logits)
    return f"{output['classes'][chances.argmax()]} {chances.max():.4f}"
'''

CLASS_OF_SCORES = '''\
def class_of(scores, output):
    """Returns the class of a sample, and its score."""
    return f"{output['classes'][scores.argmax()]} {scores.max():.4f}"
'''

YES_NO = '''\
def yes_or_no(logits, output):
    """Returns one of two classes, and its probability."""
    is_second = int(logits[0] > 0)
    return f"{output['classes'][is_second]} {1 / (1 + np.exp(-abs(logits[0]))):.4f}"
'''

YES_NO_OF_SCORES = '''\
def yes_or_no(scores, output):
    """Returns one of two classes, and the score of the second: above 0 it is that."""
    return f"{output['classes'][int(scores[0] > 0)]} {scores[0]:.4f}"
'''

LABELS = '''\
def labels_of(logits, output):
    """Returns all classes that a sample is of."""
    return ", ".join(name for name, logit in zip(output["classes"], logits) if logit > 0) or "none"
'''

VALUES = '''\
def values_of(numbers, output):
    """Returns predictions in the target's own unit."""
    values = numbers * np.array(output["target_scale"]) + np.array(output["target_shift"])
    return " ".join(f"{value:.6g}" for value in values)
'''

CHANGES = '''\
def values_of(numbers, output, last):
    """Returns predictions in the target's own unit: changes, which count from the last row of the window."""
    changes = numbers * np.array(output["target_scale"]) + np.array(output["target_shift"])
    return " ".join(f"{value:.6g}" for value in changes + np.resize(last, changes.shape))
'''

RATES = '''\
def values_of(numbers, output):
    """Returns predictions in the target's own unit: rates."""
    return " ".join(f"{value:.6g}" for value in np.exp(numbers))
'''

PLAIN = '''\
def values_of(numbers, output):
    """Returns the numbers as they are."""
    return " ".join(f"{value:.6g}" for value in numbers)
'''

STEPS = '''\
def steps_of(logits, output):
    """Returns the class of each step."""
    return " ".join(output["classes"][place] for place in logits.argmax(axis=-1))
'''

NEXT = '''\
def next_tokens(logits, output):
    """Returns the likeliest tokens to follow, with their probabilities."""
    chances = softmax(logits)
    return ", ".join(f"{output['classes'][place]} {chances[place]:.4f}" for place in np.argsort(-chances)[:3])
'''

# A text of tokens, by what a token is.
JOINS = {
    "word": '" ".join(tokens)',
    "syllable": '"".join(tokens)',
    "jamo": 'unicodedata.normalize("NFC", "".join(tokens))',
    "bpe": '"".join(tokens).replace("▁", " ").strip()',
    "morpheme": 'Kiwi().join([tuple(token.rsplit("/", 1)) for token in tokens])',
}

WRITE = '''\
def answer(text, source, target):
    """Writes the likeliest token after another until the end."""
    asked, written = padded(numbers_of(text, source), source), [target["start"]]
    for _ in range(target["longest"]):
        logits = run({"source": asked, "target": padded(written, target)})["logits"][0, len(written) - 1]
        logits[[0, target["start"], target["unknown"]]] = -np.inf  # what stands for no text
        number = int(logits.argmax())
        if number == target["end"]:
            break
        written.append(number)
    tokens = [target["vocabulary"][number] for number in written[1:]]
    return @JOINED@
'''
