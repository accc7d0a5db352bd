"""The fingerprint of data: what changes it and what does not."""

from __future__ import annotations

from dataclasses import replace

from training import configure

from dltrain import registry
from dltrain.data import Samples
from dltrain.fingerprint import fingerprint


def test_the_fingerprint_is_that_of_all_samples_and_of_what_they_stand_for(tmp_path):
    data = registry.build("data", configure(tmp_path)[0].data)
    again = registry.build("data", configure(tmp_path)[0].data)
    assert fingerprint(data) == fingerprint(again)
    changed = data.train.inputs.clone()
    changed[3, 1] += 1e-6
    others = [
        Samples(changed, data.train.targets),
        Samples(data.train.inputs.reshape(90, 2, 2), data.train.targets),
        Samples(data.train.inputs, data.train.targets.flip(0)),
        Samples(data.train.inputs[:-1], data.train.targets[:-1]),
    ]
    prints = {fingerprint(replace(data, train=samples)) for samples in others}
    prints.add(fingerprint(replace(data, test=data.validation)))
    prints.add(fingerprint(replace(data, preprocessing={"vocabulary": ["가는"]})))
    assert len(prints) == 6 and fingerprint(data) not in prints
