"""bioimageio.spec is left as it was found, and does not ask the network."""

import pytest
from bioimageio.spec._internal.constants import KNOWN_GITHUB_USERS
from bioimageio.spec._internal.field_validation import validate_github_user
from loguru import logger

from bmzpack.bundle.specification import offline, silent

PEOPLE = {"authors": [{"name": "Ada", "github_user": "Ada-of-the-tests"}], "maintainers": [{"github_user": "esgomezm"}]}


def test_users_are_known_within_the_block_only(tmp_path):
    before = set(KNOWN_GITHUB_USERS)
    assert "esgomezm" in before
    with offline(PEOPLE, tmp_path):
        assert validate_github_user("Ada-of-the-tests") == "Ada-of-the-tests"
        with offline(PEOPLE, tmp_path):
            pass
        assert before | {"ada-of-the-tests"} == KNOWN_GITHUB_USERS
    assert before == KNOWN_GITHUB_USERS


def test_restored_after_an_error(tmp_path):
    before = set(KNOWN_GITHUB_USERS)
    with pytest.raises(ZeroDivisionError), offline(PEOPLE, tmp_path):
        raise ZeroDivisionError
    assert before == KNOWN_GITHUB_USERS


def test_the_log_is_left_as_it_was_found():
    heard = []
    sink = logger.add(heard.append, level="DEBUG")
    speak = {"__name__": "bioimageio.spec", "logger": logger}
    try:
        for found, expected in ((logger.disable, 0), (logger.enable, 1)):
            found("bioimageio.spec")
            with silent():
                exec("logger.info('within')", speak)
            assert not heard
            exec("logger.info('after')", speak)
            assert len(heard) == expected
    finally:
        logger.remove(sink)
        logger.enable("bioimageio.spec")
