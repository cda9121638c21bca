"""What several rules ask for is computed once for a bundle, and forgotten with it."""

import gc
import weakref

from corpus import clean

from bmzpack.bundle.contents import opened
from bmzpack.consumers.conditions.validation import invalid_description
from bmzpack.consumers.jdll.sides import sides
from bmzpack.consumers.per_bundle import per_bundle


def test_a_bundle_is_not_kept(tmp_path):
    calls = []
    asked = per_bundle(lambda contents: calls.append(1))
    with opened(clean(tmp_path / "bundle").finish()) as contents:
        asked(contents), asked(contents)
        assert len(calls) == 1
        assert sides(contents) is not None
        assert not list(invalid_description(contents))
        kept = weakref.ref(contents)
    del contents
    gc.collect()
    assert kept() is None
