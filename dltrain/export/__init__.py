"""Trained models for other programs: a file of the model, what it takes and gives, and how to call it.

``exporting`` writes the folder. ``torch_program``, ``onnx_file`` and ``weights`` are the formats, ``check`` compares
what was written with the model itself, ``description`` makes preprocessing.json and ``readme`` the README.
"""
