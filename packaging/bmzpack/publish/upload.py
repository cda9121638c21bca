"""Uploading a bundle to the BioImage Model Zoo: only one that opens, only with consent, and never twice.

``bioimageio.spec.upload`` makes the same calls, yet is not used. Run against a server that records them, its version
0.5.12.0 does not send the bundle that was checked:

- rdf.yaml is written anew, in format 0.5.12 with ``{source, sha256}`` for documentation and covers, which Fiji cannot
  read (rule R1);
- the files are PUT as multipart forms, whose headers and boundaries a store of objects keeps as part of the files;
- the answer to a PUT is ignored, so that files which were refused count as uploaded;
- nothing is tried again, and what failed half-way is begun anew, with a second entry.

Here the files go up byte by byte as they are in the bundle, and a record in the user's cache keeps how far the upload
of each content came. An entry that may have been made is looked up on the server before another one is. The address and
the token are those of bioimageio.spec.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit

import typer

from bmzpack.bundle.archive import unpacked
from bmzpack.bundle.specification import load_model
from bmzpack.consumers.core import CORE
from bmzpack.consumers.registry import program_names, programs
from bmzpack.consumers.summary import printable, summarise
from bmzpack.describe.rdf import sha256
from bmzpack.errors import UserError
from bmzpack.files import cache_folder, new_file
from bmzpack.publish.hypha import COLLECTION, STAGE, WAITS, Hypha, Refused, Unanswered, complaint, marked
from bmzpack.testing.check import check

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import ModelDescr

    from bmzpack.consumers.findings import Report

ENTRIES = "https://bioimage.io/#/my-artifacts"
"""Where users see their entries, those at stage too."""
TOKENS = "https://bioimage.io/#/api?tab=hypha-rpc"
TERMS = "https://bioimage.io/#/toc"


@dataclasses.dataclass(frozen=True)
class Uploaded:
    """Where a bundle is in the zoo."""

    artifact: str
    """The entry's id, such as ``bioimage-io/lucky-newt``."""
    address: str
    """Address of its rdf.yaml, at stage until a reviewer publishes it."""


def ask(question: str) -> bool:
    """Ask in the terminal.

    Raises
    ------
    UserError
        There is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise UserError("Nothing was uploaded, as there is no terminal to ask in: agree with --yes.")
    return typer.confirm(question)


def upload(
    bundle: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    again: bool = False,
    confirm: Callable[[str], bool] = ask,
    show: Callable[[str], None] = print,
    sleep: Callable[[float], None] = time.sleep,
) -> Uploaded | None:
    """Upload a bundle to the BioImage Model Zoo and ask for its review; it is public when a reviewer accepts it.

    An upload that was interrupted is continued by the same call. A bundle that is uploaded already is not uploaded
    again: the call says where it is.

    Parameters
    ----------
    bundle
        The bundle's ``.zip``; every file in it is uploaded as it is.
    dry_run
        Whether to do everything but the calls; needs no token.
    again
        Whether to make a new entry in place of the one that an unfinished upload made.
    confirm
        Answers the question whether to upload, after ``show`` has shown what becomes public.
    show
        Takes the lines for the user.
    sleep
        Waits for some seconds.

    Returns
    -------
    Uploaded or None
        Where the bundle is; None of a dry run.

    Raises
    ------
    UserError
        The bundle opens in none of Fiji, ilastik and QuPath, or not in bioimageio.core; it has an id; there is no
        token; there is no consent; or the server did not take it.
    """
    from bioimageio.spec import settings
    from bioimageio.spec.utils import read_yaml

    bundle, server = Path(bundle), settings.hypha_upload
    if bundle.is_dir() or bundle.suffix in (".yaml", ".yml"):
        raise UserError(f"{bundle} is no .zip: upload the zip file, as a folder may hold what should not be public.")
    if wrong := complaint(server):
        raise UserError(f"BIOIMAGEIO_HYPHA_UPLOAD {wrong}.")
    with unpacked(bundle) as folder:
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        record = Record.of(server, files)
        if record.done and record.artifact:
            found = _uploaded(server, record.artifact)
            show(f"{bundle} is uploaded already, as {found.artifact}: {found.address} (recorded in {record.path}).")
            return found
        token = None if dry_run else _token(settings.hypha_upload_token)
        report = check(bundle)
        _refuse_what_does_not_open(bundle, report)
        model = load_model(folder, bundle)
        if model.id is not None:
            raise UserError(f"{bundle} has the id {printable(model.id)}, but the zoo gives ids: remove it in rdf.yaml.")
        manifest = _for_json(read_yaml(folder / "rdf.yaml"), bundle)
        for line in _what_becomes_public(model, report, files, server):
            show(line)
        if record.in_doubt and not again:
            show("An earlier call may have made an entry for it: that is looked up before anything is sent.")
        if token is None:
            show("Nothing was uploaded: this was a dry run.")
            return None
        if not confirm("Upload this, and ask for review?"):
            raise UserError(f"{bundle} was not uploaded.")

        def wait(seconds: float) -> None:
            show(f"That did not work: trying again in {seconds:.0f} s.")
            sleep(seconds)

        with contextlib.closing(Hypha(server, token, wait)) as hypha, _interruptible(bundle):
            if again:
                if record.artifact:
                    show(f"The unfinished entry {printable(record.artifact)} stays at stage: remove it at {ENTRIES}.")
                record.forget()
            manifest = marked(manifest, record.mark)
            artifact = record.artifact or _entry(hypha, record, manifest, bundle, show, sleep)
            _put(hypha, artifact, record, files, bundle, show)
            _request_review(hypha, artifact, record, manifest, bundle)
    found = _uploaded(server, artifact)
    show(f"{bundle} is uploaded as {found.artifact} and waits for review: {found.address} (see also {ENTRIES}).")
    return found


@dataclasses.dataclass
class Record:
    """How far the upload of some content to some server came, kept in the user's cache."""

    path: Path
    begun: bool = False
    """Whether the server was asked to make an entry."""
    artifact: str | None = None
    """The entry's id, if the server answered with it."""
    files: list[str] = dataclasses.field(default_factory=list)
    """Names of the files that are in the entry."""
    done: bool = False
    """Whether the review is requested."""

    @classmethod
    def of(cls, server: str, files: Mapping[str, Path]) -> Record:
        """The record of these files, by their names and content."""
        digest = hashlib.sha256(server.encode())
        for name in sorted(files):
            digest.update(f"\n{sha256(files[name])} {name}".encode())
        path = cache_folder("uploads") / f"{digest.hexdigest()}.json"
        if not path.exists():
            return cls(path)
        with contextlib.suppress(ValueError, TypeError):
            return cls(path, begun=True, **json.loads(path.read_text(encoding="utf-8")))
        return cls(path, begun=True)

    @property
    def mark(self) -> str:
        """What stands for this content on this server."""
        return self.path.stem

    @property
    def in_doubt(self) -> bool:
        """Whether there may be an entry that is not known."""
        return self.begun and self.artifact is None

    def begin(self) -> None:
        """Note that the server is asked to make an entry."""
        raced = False
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.path.touch(exist_ok=False)
            except FileExistsError:
                raced = True
        if raced:
            raise UserError(
                f"Another process has just begun to upload the same bundle (see {self.path}): wait for it to end."
            )

    def save(self) -> None:
        """Write what is known."""
        content = {"artifact": self.artifact, "files": self.files, "done": self.done}
        with self._writing(), new_file(self.path, overwrite=True) as path:
            path.write_text(json.dumps(content), encoding="utf-8")

    def forget(self) -> None:
        """Take it that there is no entry."""
        self.begun, self.artifact, self.files = False, None, []
        with self._writing():
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UserError) as error:
            # what the server already made must not be lost with the record
            entry = f" The entry {printable(self.artifact)} is at stage, see {ENTRIES}." if self.artifact else ""
            raise UserError(
                f"How far the upload came cannot be recorded in {self.path} ({error}), without which it could be "
                f"uploaded twice: make room there, or set XDG_CACHE_HOME.{entry}"
            ) from error


def _entry(
    hypha: Hypha,
    record: Record,
    manifest: dict[str, Any],
    bundle: Path,
    show: Callable[[str], None],
    sleep: Callable[[float], None],
) -> str:
    """The entry of this content: that which an earlier call made, or a new one."""
    artifact = None
    if record.in_doubt:
        artifact = _made_already(hypha, manifest, bundle, "an earlier call ended before it came", show, sleep)
    else:
        record.begin()
    if artifact is None:
        try:
            artifact = hypha.create(manifest)
        except Refused as error:
            record.forget()
            raise UserError(
                f"{bundle} was not uploaded: the server was not reached ({error}). Nothing was sent. Call again when "
                "it is there."
            ) from error
        except Unanswered as error:
            artifact = _made_already(hypha, manifest, bundle, str(error), show, sleep)
            if artifact is None:
                raise UserError(_in_doubt(bundle, str(error))) from error
    record.artifact = artifact
    record.save()
    return artifact


def _made_already(
    hypha: Hypha,
    manifest: dict[str, Any],
    bundle: Path,
    reason: str,
    show: Callable[[str], None],
    sleep: Callable[[float], None],
) -> str | None:
    """The entry that a call without an answer made; None where the server has none after some seconds, either."""
    for pause in WAITS:
        try:
            found = hypha.find(manifest)
        except (Refused, Unanswered) as error:
            raise UserError(_in_doubt(bundle, f"{reason}; then {error}")) from error
        if len(found) > 1:
            raise UserError(
                f"{bundle} was not uploaded: the server has the entries {', '.join(map(printable, found))} for it. "
                f"Remove all but one at {ENTRIES}, and call again."
            )
        if found:
            return found[0]
        show("No entry of it is there: looking again.")
        sleep(pause)
    return None


def _in_doubt(bundle: Path, reason: str) -> str:
    return (
        f"{bundle} was not uploaded: the server was asked to make an entry for it, and whether it did is not known "
        f"({reason}). Nothing is public. The same command looks for that entry, and continues there or makes one; with "
        f"--again it makes one without looking: first remove at {ENTRIES} what has no files. A token that has expired "
        f"is replaced at {TOKENS}."
    )


def _put(
    hypha: Hypha,
    artifact: str,
    record: Record,
    files: Mapping[str, Path],
    bundle: Path,
    show: Callable[[str], None],
) -> None:
    for name, path in files.items():
        if name in record.files:
            continue
        try:
            hypha.put(artifact, name, path)
        except (Refused, Unanswered) as error:
            _fail(bundle, artifact, f"its file {printable(name)} was not stored ({error})", error)
        record.files.append(name)
        record.save()
        show(f"{len(record.files)} of {len(files)}: {printable(name)}, {_size(path.stat().st_size)}")


def _request_review(hypha: Hypha, artifact: str, record: Record, manifest: dict[str, Any], bundle: Path) -> None:
    try:
        hypha.request_review(artifact, manifest)
    except (Refused, Unanswered) as error:
        _fail(bundle, artifact, f"its files are stored, but the review could not be requested ({error})", error)
    record.done = True
    record.save()


def _fail(bundle: Path, artifact: str, what: str, error: Exception) -> NoReturn:
    raise UserError(
        f"{bundle} is not uploaded completely: {what}. Nothing is public: the entry {printable(artifact)} is at stage. "
        "The same command continues there; where that entry is gone, --again makes a new one."
    ) from error


@contextlib.contextmanager
def _interruptible(bundle: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(
            f"Interrupted: {bundle} is not uploaded completely, and nothing is public. The same command continues."
        ) from error


def _uploaded(server: str, artifact: str) -> Uploaded:
    workspace, _, alias = artifact.rpartition("/")
    workspace = workspace or COLLECTION.partition("/")[0]
    root = "{0.scheme}://{0.netloc}".format(urlsplit(server))
    address = f"{root}/{quote(workspace)}/artifacts/{quote(alias)}/files/rdf.yaml?version={STAGE}"
    return Uploaded(printable(artifact), address)


def _token(token: str | None) -> str:
    if not token or not token.strip():
        raise UserError(
            f"An upload needs a token of the zoo: log in at https://bioimage.io, make one at {TOKENS}, and put it into "
            f"the environment variable BIOIMAGEIO_HYPHA_UPLOAD_TOKEN; with it you agree to the terms, {TERMS}."
        )
    if not re.fullmatch(r"[!-~]+", token := token.strip()):
        raise UserError("BIOIMAGEIO_HYPHA_UPLOAD_TOKEN holds what no token has, such as a space: copy it again.")
    return token


def _refuse_what_does_not_open(bundle: Path, report: Report) -> None:
    failing = {name for name, verdict in report.consumers.items() if verdict.verdict == "fails"}
    if CORE.key in failing:
        failing, reason = {CORE.key}, "bioimageio.core, with which the zoo tests it, cannot use it"
    elif programs().keys() <= failing:
        failing, reason = {*programs()}, f"none of {program_names()} can use it"
    else:
        return
    first = next(finding for name in sorted(failing) for finding in report.consumers[name].findings)
    raise UserError(
        f"{bundle} was not uploaded, as {reason}. To begin with: {printable(first.where)}: "
        f"{printable(first.found)} {printable(first.remedy)} `bmzpack check {bundle}` tells all, and `bmzpack repair` "
        "mends what it can."
    )


def _for_json(content: Any, bundle: Path) -> dict[str, Any]:
    """The description as JSON can say it: dates and numbers that are not finite become text."""
    try:
        return json.loads(json.dumps(content, default=str), parse_constant=str)
    except (TypeError, ValueError) as error:
        raise UserError(f"The rdf.yaml of {bundle} cannot be sent to the zoo: {printable(str(error))}.") from error


def _what_becomes_public(model: ModelDescr, report: Report, files: Mapping[str, Path], server: str) -> Iterator[str]:
    people = {
        "author": model.authors,
        "maintainer": model.maintainers,
        "packaged by": model.packaged_by,
        "uploader": [model.uploader] if model.uploader else [],
    }
    sizes = {name: path.stat().st_size for name, path in files.items()}
    yield "This will be public when a reviewer of the BioImage Model Zoo has accepted it:"
    yield f"  name         {printable(str(model.name))}"
    yield f"  licence      {printable(str(model.license or 'none, so that nobody may use it'))}"
    if not model.authors:
        yield "  author       none"
    for role, persons in people.items():
        for person in persons:
            yield f"  {role:<12} {_person(person)}"
    for program in summarise(report).programs:
        yield f"  {'program':<12} {program.sentence}"
    yield f"  address      {_uploaded(server, '').address.partition('/files')[0]} and a name that the zoo gives"
    yield f"  files        {len(files)}, {_size(sum(sizes.values()))}"
    for name, size in sizes.items():
        yield f"  {_size(size):>12} {printable(name)}"


def _person(person: Any) -> str:
    known = (getattr(person, key, None) for key in ("name", "email", "affiliation", "github_user", "orcid"))
    return printable(", ".join(str(value) for value in known if value))


def _size(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.1f} KiB"
