"""Checking a bundle: the rules of all consumers, and on request the engines inside them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from bmzpack.bundle.contents import opened
from bmzpack.consumers.findings import Report
from bmzpack.consumers.verdicts import check_contents


def check(
    bundle: str | os.PathLike[str], *, consumers: Sequence[str] | None = None, run: bool = False, trust: bool = False
) -> Report:
    """Say which programs can open a bundle, and what keeps the others from it.

    Without ``run`` the bundle is read only: no network, no TensorFlow, no torch, and none of the bundle's code.

    Parameters
    ----------
    bundle
        A bundle's ``.zip``, its folder, or the ``rdf.yaml`` in it, packed by any program.
    consumers
        Keys of `bmzpack.consumers.registry.CONSUMERS`; all by default.
    run
        Whether to run the test tensors through the engines of the programs as well; it takes a minute or two.
    trust
        With ``run``: whether Python code of the bundle may be executed.

    Returns
    -------
    Report
        A verdict with findings per program, and with ``run`` the matrix of engines and weights formats.

    Raises
    ------
    UserError
        There is no bundle or no such program, or the bundle was made to harm.
    """
    with opened(bundle) as contents:
        report = check_contents(contents, consumers, str(bundle))
        if run:
            from bmzpack.testing.evidence import with_matrix
            from bmzpack.testing.run import run_engines

            report = with_matrix(report, run_engines(contents, trust=trust), contents)
    return report
