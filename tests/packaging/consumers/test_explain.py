"""The pages of rules: each has its id, why it matters, an example, and what to do."""

import pytest

from bmzpack.consumers.explain import all_titles, explain, explain_all, overview
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.errors import UserError

RULES = list(all_titles())


@pytest.mark.parametrize("rule", RULES)
def test_every_page_is_whole(rule):
    page = explain(rule.lower())
    assert page.startswith(f"{rule}: ")
    assert page.count("  why  ") == page.count("  what to do  ") >= 1
    why = [line.removeprefix("  why").strip() for line in page.splitlines() if line.startswith("  why")]
    mend = [line.removeprefix("  what to do").strip() for line in page.splitlines() if line.startswith("  what to do")]
    assert all([*why, *mend])
    assert page.partition("Example:\n")[2].strip()


def test_all_pages_in_one_document():
    document = explain_all()
    assert [line.partition(":")[0] for line in document.splitlines() if line.startswith("## ")] == [
        f"## {rule}" for rule in sorted(RULES, key=lambda rule: (rule[0], int(rule[1:])))
    ]
    assert document.count("```text") >= len(RULES)
    # one section is not put into another one
    assert not [line for line in document.splitlines() if line.startswith("# ")][1:]


def test_the_overview_names_programs_versions_and_rules():
    text = overview()
    for consumer in CONSUMERS.values():
        assert consumer.name in text
        assert all(version in text for version in consumer.versions.values())
        for release in consumer.releases:
            assert release.name in text
            assert all(version in text for version in release.versions.values())
    assert all(rule in text for rule in RULES)


def test_a_rule_that_is_not_there():
    with pytest.raises(UserError, match="no rule 'R99'"):
        explain("R99")
