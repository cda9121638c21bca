"""The calls of the zoo's server, Hypha's artifact manager: repeated where that is safe, and only there.

An entry ("artifact") of the zoo is made by `create`; for each file `put_file` gives an address that the file is PUT to;
`edit` sets the status that asks for review. All but `create` may be sent twice with the effect of once; what became of
a `create` without an answer tells `list`.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeGuard

import httpx

from bmzpack.consumers.summary import printable

COLLECTION = "bioimage-io/bioimage.io"
MARK = "bmzpack_upload"
"""Entry of ``config`` in a manifest that says of which content on this server it is."""
STAGE = "stage"
"""The version of an entry that waits for review."""
WAITS = (1, 2, 4, 8)
"""Seconds before each repetition; more where the server says so,"""
LONGEST_WAIT = 300
"""but not more than this."""
TIMEOUT = httpx.Timeout(30, read=300)
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)


class Refused(Exception):
    """The server was not reached, or said no: the call had no effect."""


class Unanswered(Exception):
    """The server may have carried out the call, or not."""


class Hypha:
    """The artifact manager.

    Parameters
    ----------
    address
        The address of its function `create`, accepted by `complaint`; the other functions are beside it.
    token
        The user's; it is sent to these addresses only, and not shown.
    wait
        Waits for some seconds.
    """

    def __init__(self, address: str, token: str, wait: Callable[[float], None]) -> None:
        self._base = address.rpartition("/")[0]
        self._token = token
        self._wait = wait
        self._client = httpx.Client(timeout=TIMEOUT)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def create(self, manifest: dict[str, Any]) -> str:
        """Make an entry at stage, which only its owner and the reviewers see.

        Parameters
        ----------
        manifest
            The content of rdf.yaml, `marked`.

        Returns
        -------
        str
            The entry's id, such as ``bioimage-io/lucky-newt``.

        Raises
        ------
        Refused
            The server was not reached: there is no entry.
        Unanswered
            There may be one: to call again could make a second one.
        """
        response = self._call(
            "create",
            repeatable=False,
            parent_id=COLLECTION,
            alias="{animal_adjective}-{animal}",
            type="model",
            manifest=manifest,
            version=STAGE,
        )
        answer = _json(response)
        identifier = answer.get("id") if isinstance(answer, dict) and response.is_success else None
        if _is_id(identifier):
            return identifier
        # any other answer may be that of a gateway on the way, behind which the entry was made
        raise Unanswered(self._words(response))

    def find(self, manifest: dict[str, Any]) -> list[str]:
        """Ids of the entries of the user that were made of a manifest with the same `MARK`, at stage or not.

        Raises
        ------
        Refused, Unanswered
            They are not known.
        """
        response = self._call(
            "list",
            repeatable=True,
            parent_id=COLLECTION,
            filters={"manifest": {"name": manifest["name"]}},
            stage="all",
            limit=1000,
        )
        self._accept(response)
        answer = _json(response)
        if not isinstance(answer, list):
            raise Unanswered("the server gave no list of entries")
        return [
            entry["id"] for entry in answer if _mark(entry) == _mark({"manifest": manifest}) and _is_id(entry["id"])
        ]

    def put(self, artifact: str, name: str, path: Path) -> None:
        """Store a file in an entry, in place of one of the same name.

        Raises
        ------
        Refused, Unanswered
            It may not be stored; to call again does no harm.
        """

        def put_once() -> httpx.Response:
            # the address expires, so each try takes a new one
            response = self._post("put_file", artifact_id=artifact, file_path=name)
            if not response.is_success:
                return response
            address = _json(response)
            if not isinstance(address, str):
                raise Refused("the server gave no address for it")
            if wrong := complaint(address):
                raise Refused(f"the address that the server gave for it {wrong}")
            with path.open("rb") as file:
                return self._client.put(address, content=file)

        self._accept(self._send(put_once, repeatable=True))

    def request_review(self, artifact: str, manifest: dict[str, Any]) -> None:
        """Ask the reviewers to publish an entry.

        Raises
        ------
        Refused, Unanswered
            They may not have been asked; to call again does no harm.
        """
        manifest = manifest | {"status": "request-review"}
        self._accept(self._call("edit", repeatable=True, artifact_id=artifact, version=STAGE, manifest=manifest))

    def _call(self, function: str, *, repeatable: bool, **arguments: Any) -> httpx.Response:
        return self._send(lambda: self._post(function, **arguments), repeatable)

    def _post(self, function: str, **arguments: Any) -> httpx.Response:
        return self._client.post(
            f"{self._base}/{function}", json=arguments, headers={"Authorization": f"Bearer {self._token}"}
        )

    def _send(self, request: Callable[[], httpx.Response], repeatable: bool) -> httpx.Response:
        """Send a request, again after failures that may pass; what may have had an effect only if ``repeatable``."""
        for pause in (*WAITS, None):
            try:
                response = request()
            except httpx.RequestError as error:
                sent = not isinstance(error, NOT_SENT)
                failure = (Unanswered if sent else Refused)(self._clean(str(error) or type(error).__name__))
                if (sent and not repeatable) or pause is None:
                    raise failure from error
            else:
                passing = response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error
                if not (passing and repeatable) or pause is None:
                    return response
                pause = max(pause, _retry_after(response))
                if pause > LONGEST_WAIT:
                    raise Refused(f"{self._words(response)}; it asks to wait for {pause:.0f} s")
            self._wait(pause)
        raise AssertionError

    def _accept(self, response: httpx.Response) -> None:
        if not response.is_success:
            raise Refused(self._words(response))

    def _words(self, response: httpx.Response) -> str:
        """What the server said."""
        answer = _json(response)
        detail = answer.get("detail", answer) if isinstance(answer, dict) else answer
        if isinstance(detail, list) and all(isinstance(part, str) for part in detail):
            detail = "".join(detail)
        if isinstance(detail, str):
            # of a traceback the last line says what is wrong
            detail = (detail.strip().splitlines() or [""])[-1]
        text = response.text if answer is None else detail if isinstance(detail, str) else json.dumps(detail)
        return f"status {response.status_code}: {self._clean(text) or self._clean(response.reason_phrase)}"

    def _clean(self, text: str) -> str:
        return printable(text.replace(self._token, "***"), 300)


def complaint(address: str) -> str | None:
    """Why nothing is sent to an address: it is no ``https`` address, nor one on this computer."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        return "is no address"
    here = url.scheme == "http" and url.host in ("localhost", "127.0.0.1", "::1")
    safe = here or (url.scheme == "https" and url.host)
    return None if safe else f"leads to {printable(f'{url.scheme}://{url.host}')}, but an upload needs https"


def marked(manifest: dict[str, Any], mark: str) -> dict[str, Any]:
    """A manifest by which `Hypha.find` finds its entry again."""
    config = manifest.get("config")
    return manifest | {"config": (config if isinstance(config, dict) else {}) | {MARK: mark}}


def _mark(entry: Any) -> str | None:
    """The mark of an entry as the server lists it."""
    for key in ("manifest", "config", MARK):
        entry = entry.get(key) if isinstance(entry, dict) else None
    return entry if isinstance(entry, str) else None


def _is_id(text: Any) -> TypeGuard[str]:
    return isinstance(text, str) and re.fullmatch(r"[\w./-]{1,200}", text, re.ASCII) is not None


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return None


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait, by RFC 9110."""
    text = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0
