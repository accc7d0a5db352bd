"""What a trained model says of new inputs: tables, images and texts, as the training prepared its own.

``model`` loads a run without its data. ``lines``, ``records``, ``tables``, ``texts`` and ``image_files`` read what
comes from outside, a piece at a time, as the ``Rows`` of ``rows``; each ``inputs_*`` is a family of inputs and makes
batches of them, and ``choosing`` finds the family that a run takes. ``answers`` puts a model's outputs into columns,
``answering`` writes texts. ``predictor`` brings all together, row by row; ``writing`` writes files, and ``memory`` is
the way in and out from Python. ``own_split`` predicts the run's own data.
"""
