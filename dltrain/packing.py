"""A nested state as the bytes of a safetensors file, and back. No pickle is written or read.

Every tensor stands under the path at which it stands in the state; the state's structure and its plain values are JSON
in the header, and so is the schema of what the state holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from dltrain.errors import CheckpointError
from dltrain.migrations import SCHEMA, check_schema, migrated

_TENSOR = "$tensor"
_KEYS = "$keys"
# Where the tensors begin: a multiple of the size of any number, and of a cache line.
_ALIGNMENT = 64
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.complex64: "C64",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def pack(state: dict[str, Any]) -> memoryview:
    """Returns a nested state of dicts, lists, tensors and plain values as the bytes of a safetensors file.

    Each number is copied once, so what becomes of the tensors afterwards changes nothing.

    Raises:
        TypeError: something else stands in the state; the message says where.
    """
    tensors: dict[str, torch.Tensor] = {}
    structure = _take_tensors(state, "", tensors)
    header: dict[str, Any] = {"__metadata__": {"dltrain": json.dumps(structure, allow_nan=True), "schema": str(SCHEMA)}}
    # The widest numbers first, so that each begins at a multiple of its own size.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
    end = 0
    for path, tensor in ordered:
        begin, end = end, end + tensor.nbytes
        header[path] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    head = json.dumps(header).encode()
    head += b" " * (-(8 + len(head)) % _ALIGNMENT)
    return _filled(len(head).to_bytes(8, "little") + head, [tensor for _, tensor in ordered], end)


def _filled(head: bytes, tensors: list[torch.Tensor], num_bytes: int) -> memoryview:
    """Returns a buffer that holds the head, then each tensor; those of a GPU come over all at once."""
    from_gpu = any(tensor.is_cuda for tensor in tensors)
    buffer = torch.empty(len(head) + num_bytes, dtype=torch.uint8, pin_memory=from_gpu)
    content: memoryview = buffer.numpy().data
    content[: len(head)] = head
    begin = len(head)
    for tensor in tensors:
        end = begin + tensor.nbytes
        if end > begin:
            place = buffer[begin:end].view(tensor.dtype).view(tensor.shape)
            place.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
        begin = end
    if from_gpu:
        torch.cuda.synchronize()
    return content


def unpack(content: bytes | memoryview, path: Path) -> dict[str, Any]:
    """Returns the state that ``pack`` was given, by this version or an older one, as this version has it.

    Raises:
        CheckpointError: the bytes are no checkpoint of dltrain, or of a newer version.
    """
    try:
        schema = check_schema(schema_of(content), path)
        tensors = safetensors.torch.load(bytes(content))
        state = _put_tensors(json.loads(_metadata(content)["dltrain"]), tensors)
        if isinstance(state, dict):
            return migrated(state, schema)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is no checkpoint of dltrain: {error}") from error
    raise CheckpointError(f"{path} is no checkpoint of dltrain: it holds no state")


def schema_of(content: bytes | memoryview) -> int:
    """Returns the schema in which packed bytes were written; it may be of a newer version.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: the bytes are no checkpoint.
    """
    return int(_metadata(content).get("schema", "1"))  # the first one did not say


def _metadata(content: bytes | memoryview) -> dict[str, str]:
    metadata: dict[str, str] = json.loads(bytes(content[8 : 8 + int.from_bytes(content[:8], "little")]))["__metadata__"]
    return metadata


def _take_tensors(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """Returns the value with each tensor replaced by its path, and puts the tensors into ``tensors``."""
    if isinstance(value, torch.Tensor):
        if value.dtype not in _DTYPES or value.layout != torch.strided:
            raise TypeError(f"{path}: a tensor of {value.dtype}, {value.layout} cannot stand in a checkpoint")
        while path in tensors or path == "__metadata__":  # keys such as 1 and "1", "a/b"; safetensors' own key
            path += "'"
        tensors[path] = value
        return {_TENSOR: path}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int)):
                raise TypeError(f"{path}: a key of type {type(key).__name__} cannot stand in a checkpoint")
        items = [_take_tensors(item, f"{path}/{key}" if path else str(key), tensors) for key, item in value.items()]
        if all(isinstance(key, str) and key not in (_TENSOR, _KEYS) for key in value):
            return dict(zip(value, items, strict=True))
        return {_KEYS: list(value), "values": items}  # JSON has no other keys than text; optimizers have numbers
    if isinstance(value, (list, tuple)):
        return [_take_tensors(item, f"{path}/{i}", tensors) for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"{path}: a {type(value).__name__} cannot stand in a checkpoint; use tensors, numbers, text, lists and dicts"
    )


def _put_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _KEYS in value:
            return dict(zip(value[_KEYS], (_put_tensors(item, tensors) for item in value["values"]), strict=True))
        return {key: _put_tensors(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_tensors(item, tensors) for item in value]
    return value
